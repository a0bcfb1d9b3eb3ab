"""The search of `edgekd fit` beside random search, Optuna's TPE with constraints and a recipe that is written by hand.

    pip install optuna
    python benchmarks/fit.py --json benchmarks/results/fit.json --out /tmp/fit
    python benchmarks/fit.py --space cifar10 --data FOLDER --json benchmarks/results/fit_cifar10.json --out /tmp/fit10

Digits of 8x8 pixels (fit_digits.py) or CIFAR-10 from JPEG files (fit_cifar10.py), and the default space in float32.
Every student of a grid is trained once for each seed, which draws the training, validation and test samples and all
weights; each search then looks its students up and is charged for the epochs of the stages that it would have trained.
The others may spend as many epochs as fit did. A bound is kept where the winner keeps it on the test samples, as for
the command to end with 0. What a winner leaves unused is its cost over that of three others: the student that is chosen
by fit's own rule on the validation samples where the whole grid is trained; the cheapest student of the grid that keeps
the budget with the same seed, whose luck on the test samples no search can know; and the cheapest one that keeps it
with nine seeds of ten, or with each of fewer, which is known only to who trained all of them. Costs are
multiply-accumulates and bytes. Constants of the search were chosen with other seeds than the record's.

Trainings go on where they were (--out), --minutes ends them in time, and the record has what was done by then.
"""

import json
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import finish, goal, options, say
from fit_cifar10 import cifar10
from fit_digits import digits
from fit_figures import OVERS
from fit_grid import Grid
from fit_record import FIT, KEPT, Record, Rows
from fit_space import GridSpace
from fit_unreachable import command_ends
from rich.console import Console
from rich.table import Table

from edgekd.errors import EdgekdError
from edgekd.files import write_json

SPACES: dict[str, Callable[[Path | None, bool], GridSpace]] = {"digits": digits, "cifar10": cifar10}


def main() -> None:
    more: dict[str, Any] = {
        "space": {"choices": list(SPACES), "default": "digits", "help": "what students are of; digits if left out"},
        "data": {"type": Path, "help": "of cifar10: a folder with train/<class>/*.jpg and test/<class>/*.jpg"},
        "seeds": {"type": int, "help": "how many; 10 of digits and 3 of cifar10 if left out"},
        "first": {"type": int, "help": "the first of them; 100 if left out"},
        "minutes": {"type": float, "help": "after which no grid of another seed is begun"},
    }
    arguments = options(__doc__, **more)
    try:
        figures = compare(arguments)
    except EdgekdError as error:
        sys.exit(str(error))
    finish(arguments, figures, goals(figures))


def compare(arguments: Namespace) -> dict[str, Any]:
    """Train the grids that are asked for, and return the figures; they are written after each seed."""
    space, started = SPACES[arguments.space](arguments.data, arguments.quick), time.monotonic()
    count, first = arguments.seeds or space.seeds, arguments.first or space.first_seed
    folder = arguments.out or Path(tempfile.mkdtemp(prefix="fit-"))
    grid = Grid(folder, space, earlier_rows(arguments.json, space))
    trained: list[int] = []
    record = Record(grid)
    for seed in range(first, first + count):
        if trained and arguments.minutes and time.monotonic() - started > 60 * arguments.minutes:
            break
        students = grid.everything(seed)
        trained.append(seed)
        figures = record.figures(trained)
        say(f"seed {seed}: {len(students)} students, {(time.monotonic() - started) / 60:.1f} min")
        show(figures["searches"])
        if arguments.json:
            write_json(arguments.json, figures)
    return {**figures, "command_on_what_is_unreachable": command_ends(folder / "unreachable")}


def earlier_rows(path: Path | None, space: GridSpace) -> Rows:
    """Return the students of an earlier record if they are of ``space``; records of digits are older than its name."""
    earlier = json.loads(path.read_text()) if path and path.exists() else {}
    same = earlier.get("space", "digits") == space.name and earlier.get("steps") == space.steps
    return earlier.get("students", []) if same else []


def show(methods: dict[str, dict[str, Any]]) -> None:
    table = Table("Search", "kept", *(f"over {name}" for name in OVERS.values()), "trainings", "epochs", "s")

    def cell(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    for name, row in methods.items():
        more = [cell(row[key], "+.0%") for key in OVERS]
        costs = [cell(row[key], ".0f") for key in ("trainings", "epochs", "seconds")]
        table.add_row(name, f"{row['kept']} of {row['searches']}", *more, *costs)
    Console(width=120).print(table)


def goals(figures: dict[str, Any]) -> list[dict[str, Any]]:
    ours, fewer = figures["searches"][FIT], figures["times_fewer_epochs"]
    at_once = [each["share_of_epochs"] for each in figures["unreachable"]]
    command = figures["command_on_what_is_unreachable"]
    left = {name: ours[key] for key, name in OVERS.items() if ours[key] is not None}
    return [
        goal("share of budgets kept on the test samples", KEPT, ours["kept"] / max(ours["searches"], 1)),
        *(goal(f"cost left unused, over {name}", 0.08, value, at_most=True) for name, value in left.items()),
        goal("TPE's epochs over fit's to the same student", 2.0, fewer["ratio"] if fewer else 0.0),
        goal("unreachable: largest share of a search's epochs until it is said", 0.5, max(at_once), at_most=True),
        goal("unreachable: share of --hours after which the command ends", 0.5, command["share"], at_most=True),
        goal("unreachable: commands that end with 2", len(command["codes"]), command["codes"].count(2)),
    ]


if __name__ == "__main__":
    main()
