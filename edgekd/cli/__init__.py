"""The command line: one file for each command, which parses, calls and prints.

Its start is what a user waits for most often: help is plain text, and nothing looks for plug-ins among the packages.
"""

import os

os.environ.setdefault("TYPER_USE_RICH", "0")
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
