"""The gsrt link: docs/LINK.md."""
