"""The command line, one file for each command.

Each parses, calls and prints.

It starts fast: help is plain text, and nothing looks for plug-ins among the installed packages.
"""

import os

from edgekd.log import show_logs

os.environ.setdefault("TYPER_USE_RICH", "0")
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")

show_logs()
