"""What every benchmark shares: its options, its environment, its goals, and one table at the end."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekd.files import write_json
from edgekd.log import show_logs


def say(line: str) -> None:
    """Print one line for people on standard error."""
    print(line, file=sys.stderr, flush=True)


def options(description: str | None, **more: dict[str, Any]) -> argparse.Namespace:
    """Return the arguments, and show what edgekd logs; ``more`` are further options with argparse's settings."""
    show_logs()
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="the same code with smaller numbers")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--out", type=Path, help="a folder for pictures and work")
    for name, about in more.items():
        parser.add_argument(f"--{name}", **about)
    return parser.parse_args()


def goal(name: str, bound: float, value: float, at_most: bool = False) -> dict[str, Any]:
    """One goal; ``value`` must come from the raw figures of the same document."""
    return {"name": name, "bound": bound, "value": value, "met": value <= bound if at_most else value >= bound}


def finish(arguments: argparse.Namespace, figures: dict[str, Any], goals: Sequence[dict[str, Any]]) -> None:
    """Writes the JSON, prints the goals, and ends with 1 when one is missed."""
    from rich.console import Console
    from rich.table import Table

    from edgekd.bench import fingerprint

    document = {
        # A record says nothing of the machine's folders.
        "command": " ".join(["python", *(Path(each).name if Path(each).is_absolute() else each for each in sys.argv)]),
        "quick": arguments.quick,
        "environment": fingerprint().to_json(),
        **figures,
        "goals": list(goals),
    }
    if arguments.json:
        write_json(arguments.json, json.loads(json.dumps(document)))
    table = Table("Goal", "Bound", "Value", "Met")
    for entry in goals:
        table.add_row(entry["name"], f"{entry['bound']:g}", f"{entry['value']:g}", "yes" if entry["met"] else "NO")
    Console().print(table)
    sys.exit(0 if all(entry["met"] for entry in goals) else 1)
