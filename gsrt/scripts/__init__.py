"""Real-time scripts: restricted Python inside a session (docs/SCRIPTS.md)."""
