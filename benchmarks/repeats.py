"""One measurement many times over: kept line by line, so that it goes on after a stop, and with a neighbour."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgekd.agent.cpus import quietest


@contextmanager
def hog(wanted: bool = True) -> Iterator[int | None]:
    """A process that never rests, on the CPU that a comparison would take last."""
    if not wanted:
        yield None
        return
    cpu = max(quietest(10_000))
    spin = f"import os\nos.sched_setaffinity(0, [{cpu}])\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", spin])
    try:
        yield cpu
    finally:
        process.kill()
        process.wait()


def lines(kept: Path | None) -> list[dict[str, Any]]:
    if not kept or not kept.exists():
        return []
    # The last line may be half a line of a run that was killed.
    return [json.loads(line) for line in kept.read_text().splitlines() if line.endswith("}")]


def keep(kept: Path | None, result: dict[str, Any]) -> None:
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with kept.open("a") as file:
            file.write(json.dumps(result) + "\n")
