"""Debian packages of gsrt: what they hold, what they say of themselves, and their archives."""
