"""``python -m edgekd``: the command."""

import os
import sys

# Python has put the working directory first on the import path, and a file there that is called queue.py or random.py
# would be run for the module of that name. Nothing but the interpreter's own modules may be imported before this line.
if sys.path[:1] in ([""], [os.getcwd()]):  # noqa: PTH109
    del sys.path[0]

from edgekd.cli.main import main

main()
