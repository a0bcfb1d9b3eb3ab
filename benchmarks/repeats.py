"""One measurement many times over, kept line by line, so that it goes on after a stop."""

import json
from pathlib import Path
from typing import Any


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
