"""Child processes: this Python runs a module of edgekd.

It has the import path of this process.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[1]
# ``python -m`` would put the working directory first, and a file there that is called queue.py or random.py would be
# run for the module of that name. ``-c`` puts an empty entry there, which can be removed before anything is imported.
START = """\
import sys
sys.path = [entry for entry in sys.path if entry]
del sys.argv[0]
import runpy
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def words(module: str) -> list[str]:
    """Return the command line that runs ``module`` as a program, in the environment that :func:`environment` gives."""
    return [sys.executable, "-c", START, module]


def converse(module: str, errors: IO[bytes]) -> "subprocess.Popen[str]":
    """Start ``module`` as a program that is spoken to line by line; its errors go to ``errors``."""
    return subprocess.Popen(
        words(module),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment with ``more`` in it, and with its import path.

    The working directory comes last there: what it alone holds is found, and nothing in it hides another module.
    """
    here = str(Path.cwd())
    entries = dict.fromkeys([*(str(Path(entry).resolve()) for entry in sys.path), str(ROOT)])
    path = sorted(entries, key=lambda entry: entry == here)
    # From Python 3.11 on, the programs that such a process starts in turn are safe too.
    fixed = {"PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1", "PYTHONUTF8": "1"}
    return {**os.environ, **more, **fixed}
