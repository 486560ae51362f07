"""Hypothesis as the tests here want it: the same examples in every run, and no judgement of how fast the machine is.

Importing this module sets it for the whole run. A longer search for counterexamples: HYPOTHESIS_EXAMPLES=10000.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "reproducible",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "100")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("reproducible")
