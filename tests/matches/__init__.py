"""Matches: from tickets to sessions."""
