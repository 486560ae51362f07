"""Measures gsrt against its peers on this machine: `python -m benchmarks`. README.md says what each figure means."""
