"""What commands print of what earlier versions wrote, and their ``--help``."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from typer.main import get_command

from edgekd.cli.main import application

# Starting a process for each command takes six times as long.
HELP = """
import contextlib, sys
from edgekd.cli.main import main
for words in sys.argv[1:]:
    print("$ edgekd", words)
    sys.argv[1:] = [*words.split(), "--help"]
    with contextlib.suppress(SystemExit):
        main()
    print()
"""
PLAIN = {"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}


def printers() -> dict[str, str]:
    """Return the versions of what lays out the commands' text."""
    return {name: version(name) for name in ("rich", "typer")}


def printed(*words: object) -> str:
    """Return what ``edgekd WORDS`` says on both streams, and how it ends, if not with 0."""
    found = subprocess.run(
        [sys.executable, "-m", "edgekd", *map(str, words)],
        env={**os.environ, **PLAIN},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return found.stdout + (f"[{found.returncode}]\n" if found.returncode else "")


def shown(written: Path) -> str:
    """Return what each command says that reads the files in ``written``, a copy, which is not named in it."""
    report, baseline, bundle = written / "report.json", written / "baseline.json", written / "bundle"
    commands = {
        "check": ("check", "--baseline", baseline, "--current", report),
        "report": ("report", report),
        "bundle show": ("bundle", "show", bundle),
        "bundle verify": ("bundle", "verify", bundle, "--self-test"),
    }
    texts = (f"$ edgekd {name}\n{printed(*words)}" for name, words in commands.items())
    return "\n".join(texts).replace(str(written), "written")


def paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, each in getattr(command, "commands", {}).items():
        yield from paths(each, (*path, name))


def help_texts() -> str:
    commands = [" ".join(path) for path in paths(get_command(application()))]
    found = subprocess.run(
        [sys.executable, "-c", HELP, *commands], env={**os.environ, **PLAIN}, capture_output=True, text=True, check=True
    )
    return found.stdout.removesuffix("\n")
