"""A game is a folder: what its files say, how they are read, and what a new one looks like."""
