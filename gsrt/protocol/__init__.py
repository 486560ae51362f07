"""Dialects: bytes and `now` go in, events and bytes come out. No socket, no clock, no random source in here."""
