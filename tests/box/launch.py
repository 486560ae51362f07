"""`python -m tests.box.launch ROOT CALM_SECONDS ARGUMENTS...`: the gsrt command on a box whose /proc and /sys are those
below ROOT, and where what has strained it is forgotten sooner."""

from __future__ import annotations

import sys

import gsrt.box
import gsrt.governor
from gsrt.cli import main

if __name__ == "__main__":
    gsrt.box.ROOT = sys.argv.pop(1)
    gsrt.governor.CALM_SECONDS = float(sys.argv.pop(1))
    sys.exit(main())
