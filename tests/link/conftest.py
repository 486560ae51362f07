"""Property tests of the protocols are reproducible."""

from __future__ import annotations

import tests.support.reproducible  # noqa: F401 - importing it is what sets it
