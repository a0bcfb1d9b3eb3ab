"""The search of `edgekd fit` beside random search, Optuna's TPE with constraints and a recipe that is written by hand.

    pip install optuna
    python benchmarks/fit.py --json benchmarks/results/fit.json --out /tmp/fit

Digits of 8x8 pixels and the default space in float32. Every student of a grid is trained once for each seed, which
draws the training, validation and test samples and all weights; each search then looks its students up and is charged
for the epochs of the stages that it would have trained. The others may spend as many epochs as fit did. A bound is kept
where the winner keeps it on the test samples, as for the command to end with 0. What a winner leaves unused is its cost
over that of three others: the student that is chosen by fit's own rule on the validation samples where the whole grid
is trained; the cheapest student of the grid that keeps the budget with the same seed, whose luck on the test samples no
search can know; and the cheapest one that keeps it with nine seeds of ten, which is known only to who trained all of
them. Costs are multiply-accumulates and bytes. Constants of the search were chosen with other seeds than the record's.

Trainings go on where they were (--out), --minutes ends them in time, and the record has what was done by then.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fit_searches as searches
import numpy as np
from common import finish, goal, options, say
from fit_figures import OVERS, noise, summary, times_fewer, unwarned
from fit_grid import STEPS, Grid, Trained
from fit_searches import Case, Ended
from fit_unreachable import command_ends, searched
from rich.console import Console
from rich.table import Table

from edgekd.files import write_json

CASES = (
    Case("3 points", 3.0),
    Case("4 points", 4.0),
    Case("6 points", 6.0),
    Case("5 points, 1/50 of the time", 5.0, {"latency_ratio": 0.02}),
    Case("4 points, 1/40 of the size", 4.0, {"size_ratio": 0.025}),
)
FIT, TPE, RANDOM, HAND, GRID, KNOWN = "fit", "TPE", "random", "by hand", "whole grid", "known"
# Of the record; those before it are for those who change the search.
FIRST_SEED, FIRST_SEED_OF_QUICK = 100, 2
CAREFUL = ", by one standard error"
KEPT = 0.9
Place = tuple[str, float]
Rows = list[dict[str, Any]]
# Students that TPE may train to find one as cheap as fit's, and how much more that one may cost.
MOST, ALIKE = 60, 1.02


def compared(grid: Grid, seed: int, case: Case) -> dict[str, Ended]:
    """Return how each search ends for one seed and one budget."""
    ours = searches.fit(grid, seed, case)
    others = {HAND: searches.by_hand(grid, seed, case), GRID: searches.exhaustive(grid, seed, case)}
    found = {FIT: ours, **others}
    for errors, words in ((0.0, ""), (1.0, CAREFUL)):
        ways = {
            TPE: searches.tpe(grid, case, seed, errors),
            RANDOM: searches.random_search(grid, case, seed),
        }
        for name, suggest in ways.items():
            found[name + words] = searches.suggested(grid, seed, case, suggest, errors, ours.ledger.epochs, MOST)
    return found


def epochs_to(grid: Grid, seed: int, case: Case, cost: float) -> tuple[int, bool]:
    """Return the epochs in which TPE trains a student of ``cost`` that keeps the budget, and whether it does.

    The test samples say which one that is: a hint that TPE has, and fit has not.
    """
    ledger = searches.suggested(grid, seed, case, searches.tpe(grid, case, seed, 0.0), 0.0, 10**9, MOST).ledger
    for student, spent in zip(ledger.students, ledger.spent, strict=True):
        if case.is_kept(student) and student.cost <= ALIKE * cost:
            return spent, True
    return ledger.epochs, False


def outcome(name: str, seed: int, case: Case, ended: Ended) -> dict[str, Any]:
    about: dict[str, Any] = {"search": name, "seed": seed, "budget": case.name}
    about |= {
        "trainings": len(ended.ledger.students),
        "epochs": ended.ledger.epochs,
        "seconds": round(ended.ledger.seconds, 1),
        "unreachable": ended.unreachable,
    }
    return about | of_student(ended.winner, case)


def of_student(winner: Trained | None, case: Case) -> dict[str, Any]:
    if winner is None or winner.figures is None:
        return {"kept": False}
    return {
        **{"arm": winner.arm, "share": winner.share, "level": winner.level, "cost": winner.cost},
        **{"drop": winner.figures.drop, "test_drop": winner.test_drop, "kept": case.is_kept(winner)},
    }


def cheapest(grid: Grid, seed: int, case: Case) -> float | None:
    """Return the least cost of the grid's students that keep the budget on the test samples with this seed."""
    return min((each.cost for each in grid.everything(seed) if case.is_kept(each)), default=None)


def known_place(grid: Grid, seeds: Sequence[int], case: Case) -> Place | None:
    """Return the cheapest place of the grid that keeps the budget with nine seeds of ten."""
    students = [{each.place: each for each in grid.everything(seed)} for seed in seeds]
    places = set.intersection(*(set(each) for each in students))
    good = [place for place in places if np.mean([case.is_kept(each[place]) for each in students]) >= KEPT]
    return min(good, key=lambda place: float(np.mean([each[place].cost for each in students])), default=None)


def alone(grid: Grid, seed: int, case: Case) -> tuple[Rows, dict[str, Any] | None]:
    """Return how each search ended, and what TPE takes to a student as cheap as fit's where that one is kept."""
    rows = [outcome(name, seed, case, each) for name, each in compared(grid, seed, case).items()]
    ours = rows[0]
    if not ours["kept"]:
        return rows, None
    epochs, same = epochs_to(grid, seed, case, ours["cost"])
    return rows, {"seed": seed, "budget": case.name, "fit": ours["epochs"], "tpe": epochs, "same": same}


def together(
    grid: Grid, rows: list[dict[str, Any]], seed: int, case: Case, known: Place | None
) -> list[dict[str, Any]]:
    """Add what is left unused, which needs the grids of all seeds."""
    sure = grid.top(seed, *known) if known else None
    rows = [*rows, {"search": KNOWN, "seed": seed, "budget": case.name, **of_student(sure, case)}]
    best, whole = cheapest(grid, seed, case), next(row.get("cost") for row in rows if row["search"] == GRID)
    others = {"over_cheapest": best, "over_known": sure.cost if sure and sure.figures else None}
    return [
        {
            **row,
            "reachable": best is not None,
            **{name: row["cost"] / other - 1 for name, other in others.items() if row["kept"] and other},
            **({"over_grid": row["cost"] / whole - 1} if whole and "cost" in row else {}),
        }
        for row in rows
    ]


def show(methods: dict[str, dict[str, Any]]) -> None:
    overs = ("over the whole grid's", "over the seed's cheapest", "over the known one")
    table = Table("Search", "kept", *overs, "trainings", "epochs", "s")

    def cell(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    for name, row in methods.items():
        more = [cell(row[key], "+.0%") for key in OVERS]
        costs = [cell(row[key], ".0f") for key in ("trainings", "epochs", "seconds")]
        table.add_row(name, f"{row['kept']} of {row['searches']}", *more, *costs)
    Console(width=120).print(table)


class Record:
    """The figures of the benchmark, which grow seed by seed."""

    def __init__(self, grid: Grid, cases: Sequence[Case]):
        self.grid, self.cases = grid, cases
        self.found: dict[tuple[int, str], tuple[Rows, dict[str, Any] | None]] = {}

    def figures(self, seeds: Sequence[int]) -> dict[str, Any]:
        grid = self.grid
        outcomes = []
        for case in self.cases:
            known = known_place(grid, seeds, case)
            for seed in seeds:
                if (seed, case.name) not in self.found:
                    self.found[seed, case.name] = alone(grid, seed, case)
                outcomes += together(grid, self.found[seed, case.name][0], seed, case, known)
        pairs = [pair for _, pair in self.found.values() if pair]
        return {
            "seeds": list(seeds),
            "steps": grid.steps,
            "noise": noise(grid, seeds),
            "budgets": [
                {"name": case.name, "points": case.points, **case.bounds, "unwarned": unwarned(grid, seeds, case)}
                for case in self.cases
            ],
            "searches": {name: summary(outcomes, name) for name in dict.fromkeys(row["search"] for row in outcomes)},
            "times_fewer_epochs": times_fewer(pairs),
            "unreachable": searched(grid, seeds, outcomes),
            "outcomes": outcomes,
            "to_the_same_student": pairs,
            "students": [row.to_json() for row in grid.rows.values() if row.seed in seeds],
        }


def main() -> None:
    more: dict[str, Any] = {
        "seeds": {"type": int, "help": "how many; 10 if left out"},
        "first": {"type": int, "help": f"the first of them; {FIRST_SEED} if left out"},
        "minutes": {"type": float, "help": "after which no grid of another seed is begun"},
    }
    arguments = options(__doc__, **more)
    steps, cases = (
        ({arm: min(most, 3) for arm, most in STEPS.items()}, CASES[1:3]) if arguments.quick else (STEPS, CASES)
    )
    count, started = arguments.seeds or (1 if arguments.quick else 10), time.monotonic()
    folder = arguments.out or Path(tempfile.mkdtemp(prefix="fit-"))
    earlier = json.loads(arguments.json.read_text()) if arguments.json and arguments.json.exists() else {}
    grid = Grid(folder, steps, earlier.get("students", ()) if earlier.get("steps") == steps else ())
    trained: list[int] = []
    record = Record(grid, cases)
    first = arguments.first or (FIRST_SEED_OF_QUICK if arguments.quick else FIRST_SEED)
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
    figures["command_on_what_is_unreachable"] = command_ends(folder / "unreachable")
    finish(arguments, figures, goals(figures))


def goals(figures: dict[str, Any]) -> list[dict[str, Any]]:
    ours, fewer = figures["searches"][FIT], figures["times_fewer_epochs"]
    at_once = [each["share_of_epochs"] for each in figures["unreachable"]]
    command = figures["command_on_what_is_unreachable"]
    return [
        goal("share of budgets kept on the test samples", KEPT, ours["kept"] / ours["searches"]),
        goal("cost left unused, over the whole grid's by the same rule", 0.08, ours["over_grid"], at_most=True),
        goal("cost left unused, over the known cheapest", 0.08, ours["over_known"], at_most=True),
        goal("cost left unused, over the seed's cheapest", 0.08, ours["over_cheapest"], at_most=True),
        goal("TPE's epochs over fit's to the same student", 2.0, fewer["ratio"] if fewer else 0.0),
        goal("unreachable: largest share of a search's epochs until it is said", 0.5, max(at_once), at_most=True),
        goal("unreachable: share of --hours after which the command ends", 0.5, command["share"], at_most=True),
        goal("unreachable: commands that end with 2", len(command["codes"]), command["codes"].count(2)),
    ]


if __name__ == "__main__":
    main()
