"""Random scripts in the real sandbox: `python -m tests.scripts.fuzz --seed N --count M [--minutes X]`."""
