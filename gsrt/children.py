"""Child processes, of which this server has few and short-lived ones."""

from __future__ import annotations

import os


def inheritable_descriptors() -> list[int]:
    """Descriptors that a child would inherit, but for the first three: what the server keeps for its own restart."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        try:
            if descriptor > 2 and os.get_inheritable(descriptor):
                found.append(descriptor)
        except OSError:  # the listing's own descriptor, which is closed by now
            pass
    return found
