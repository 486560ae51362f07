"""What is remembered: players, what they own and have done, and the requests that ask for it or change it."""
