"""`python -m tests.scripts.corpus VERSION`: all of the corpus on the CPython of that version, of those that are there.

Builds what it lacks, and becomes the runner, which says what is printed.
"""

from __future__ import annotations

import os
import sys

from tests.scripts.corpus import interpreters


def main() -> None:
    (interpreter,) = (each for each in interpreters.available() if each.version == sys.argv[1])
    interpreters.prepare(interpreter)
    os.chdir(interpreter.root)
    environment = {**os.environ, "PYTHONPATH": str(interpreter.root), "PYTHONDONTWRITEBYTECODE": "1"}
    os.execve(interpreter.python, [str(interpreter.python), "-m", "tests.scripts.corpus.runner"], environment)


if __name__ == "__main__":
    main()
