"""The figures of benchmarks/fit.py: how each search ended, and what its winner leaves unused."""

from collections.abc import Sequence
from typing import Any

import fit_searches as searches
import numpy as np
from fit_figures import noise, summary, times_fewer, unwarned
from fit_grid import Grid
from fit_searches import Ended
from fit_space import Case
from fit_students import Trained
from fit_unreachable import searched

FIT, TPE, RANDOM, HAND, GRID, KNOWN = "fit", "TPE", "random", "by hand", "whole grid", "known"
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
    """Return the cheapest place of the grid that keeps the budget with nine seeds of ten, or with each of fewer."""
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


class Record:
    """The figures of the benchmark, which grow seed by seed."""

    def __init__(self, grid: Grid):
        self.grid = grid
        self.found: dict[tuple[int, str], tuple[Rows, dict[str, Any] | None]] = {}

    def figures(self, seeds: Sequence[int]) -> dict[str, Any]:
        grid, space = self.grid, self.grid.space
        outcomes = []
        for case in space.cases:
            known = known_place(grid, seeds, case)
            for seed in seeds:
                if (seed, case.name) not in self.found:
                    self.found[seed, case.name] = alone(grid, seed, case)
                outcomes += together(grid, self.found[seed, case.name][0], seed, case, known)
        pairs = [pair for _, pair in self.found.values() if pair]
        return {
            "space": space.name,
            "seeds": list(seeds),
            "steps": space.steps,
            "noise": noise(grid, seeds),
            "budgets": [
                {"name": case.name, "points": case.points, **case.bounds, "unwarned": unwarned(grid, seeds, case)}
                for case in space.cases
            ],
            "searches": {name: summary(outcomes, name) for name in dict.fromkeys(row["search"] for row in outcomes)},
            "times_fewer_epochs": times_fewer(pairs),
            "unreachable": searched(grid, seeds, outcomes),
            "outcomes": outcomes,
            "to_the_same_student": pairs,
            "students": [row.to_json() for row in grid.rows.values() if row.seed in seeds],
        }
