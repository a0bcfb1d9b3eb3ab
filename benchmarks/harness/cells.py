"""Cells of the comparison of ratios under load: what each asks, and what its comparisons come to."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from itertools import product
from statistics import median
from typing import Any

from common import goal

from edgekd.agent.cpus import usable_cpus
from edgekd.stats.proportion import wilson_interval

# Processes that want a processor, for each load.
LOADS = {"quiet": 0, "busy-1": 1, "busy-2": 2, "busy-4": 4, "busy-8": 8, "compile": 2}
# Layers of the reference and of the model.
PAIRS = {"1:1": (20, 20), "1:3": (20, 60), "1:15": (10, 150)}
THREADS = (1, 2)
PLANTED = "1:1.05"
WAYS = ("here", "ssh")
HOLDS, INVALID, FOUND, EACH, ENOUGH = 0.93, 0.1, 0.95, 40, 20

Figures = dict[str, Any]
# By the number of the run that they were read in.
Truths = Mapping[int, Figures]


@dataclass(frozen=True)
class Cell:
    """A pair of files, compared on so many threads, beside a load, on this machine or through SSH."""

    load: str
    pair: str
    threads: int
    way: str

    @property
    def name(self) -> str:
        return f"{self.load}/{self.pair}/{self.threads}/{self.way}"

    def comparisons(self, each: int) -> int:
        """Return how many it takes where others take ``each``; the planted slowdown takes as many as a load."""
        return each * len(PAIRS) * len(THREADS) if self.pair == PLANTED else each


def cells(patterns: Sequence[str]) -> list[Cell]:
    """Return the cells whose names match one of ``patterns``, the planted slowdown among them."""
    every = [
        *(Cell(load, pair, threads, way) for load in LOADS for pair in PAIRS for threads in THREADS for way in WAYS),
        Cell("quiet", PLANTED, 1, "here"),
    ]
    return [cell for cell in every if any(fnmatchcase(cell.name, pattern) for pattern in patterns)]


def truth_of(readings: Sequence[Figures]) -> Figures:
    """Return the quiet ratio of one pair from ``readings`` of it, long ones.

    It is their geometric mean. Its interval is that of a mean of independent readings, so that it narrows with each;
    ``moved`` says that two of them do not overlap.
    """
    ends = [each["ci95"] for each in readings]
    reach = math.sqrt(sum(math.log(high / low) ** 2 for low, high in ends)) / (2 * len(readings))
    ratio = math.exp(sum(math.log(each["ratio"]) for each in readings) / len(readings))
    return {
        "ratio": ratio,
        "ci95": [ratio * math.exp(-reach), ratio * math.exp(reach)],
        "moved": max(low for low, _ in ends) > min(high for _, high in ends),
        "readings": list(readings),
    }


def truths_of(readings: Sequence[Figures]) -> Truths:
    """Return the quiet ratio of one pair in each run, from the readings before and after its comparisons."""
    runs = sorted({run_of(each) for each in readings})
    return {run: truth_of([each for each in readings if run_of(each) == run]) for run in runs}


def run_of(result: Figures) -> int:
    """Return the number of the run that ``result`` is of: a record may go on hours later."""
    return int(result.get("run", 0))


def summary(cell: Cell, results: Sequence[Figures], truths: Truths | None) -> Figures:
    """Return what the comparisons of a cell come to; without truths, how many found the model slower.

    A comparison is right if it holds the truth of its run or is invalid; one that ended in an error is neither.
    """
    n, valid = len(results), [each for each in results if each["valid"]]
    failed = sum("error" in each for each in results)
    held = sum(is_slower(each) if truths is None else holds(each, truths[run_of(each)]) for each in valid)
    invalid = n - len(valid) - failed
    found = {
        **asdict(cell),
        **{"n": n, "held": held, "invalid": invalid, "failed": failed},
        **{"share": (held + invalid) / n, "share_ci95": list(wilson_interval(held + invalid, n))},
        **{"invalid_share": invalid / n, "seconds": median(each["seconds"] for each in results)},
        "launches_at_real_time": sum(each.get("real_time", False) for each in results),
    }
    if truths is None:
        return found
    known, of_all = {run: each["ratio"] for run, each in truths.items()}, truth_of(list(truths.values()))
    walls = [{**each["wall"], "run": run_of(each)} for each in results if "wall" in each]
    return {
        **found,
        "median_width": middle((each["ci95"][1] - each["ci95"][0]) / each["ratio"] for each in valid if each["ci95"]),
        "median_error": middle(abs(each["ratio"] / known[run_of(each)] - 1) for each in valid),
        "wall_median_error": middle(abs(each["ratio"] / known[each["run"]] - 1) for each in walls),
        "held_of_all_runs": sum(holds(each, of_all) for each in valid),
        "wall_held": sum(holds(each, truths[each["run"]]) for each in walls),
        "walls": len(walls),
        "median_taken": middle(max(each["taken"]) for each in results if "taken" in each),
    }


def by_load(found: Sequence[Figures]) -> list[Figures]:
    """Return what the comparisons of all pairs and threads beside one load come to, for each way."""
    pooled = []
    for way, load in product(WAYS, LOADS):
        alike = [each for each in found if (each["load"], each["way"]) == (load, way) and each["pair"] != PLANTED]
        if not alike:
            continue
        keys = ("n", "held", "held_of_all_runs", "invalid", "failed", "wall_held", "walls")
        counts = {key: sum(each[key] for each in alike) for key in keys}
        n, invalid, right = counts["n"], counts["invalid"], counts["held"] + counts["invalid"]
        pooled.append(
            {
                **{"load": load, "way": way, "cells": len(alike), **counts},
                **{"share": right / n, "share_ci95": list(wilson_interval(right, n))},
                **{"invalid_share": invalid / n, "invalid_ci95": list(wilson_interval(invalid, n))},
            }
        )
    return pooled


def middle(values: Iterable[float]) -> float | None:
    known = list(values)
    return median(known) if known else None


def holds(one: Figures, truth: Figures) -> bool:
    return bool(one["ci95"]) and bool(one["ci95"][0] <= truth["ratio"] <= one["ci95"][1])


def is_slower(one: Figures) -> bool:
    return bool(one["ci95"]) and one["ci95"][0] > 1


def goals(found: Sequence[Figures], truths: Iterable[Figures], work: float | None) -> list[dict[str, Any]]:
    """Return the goals of each way, where comparisons are enough; ``work`` is that of the planted pair."""
    known, by_name = list(truths), Counter[str]()
    comparisons = [each for each in found if each["pair"] != PLANTED]
    for each in comparisons:
        by_name[each["load"]] += each["n"]
    stayed = sum(not each["moved"] for each in known)
    wanted = [
        goal("comparisons under each load", EACH, min(by_name.values(), default=0)),
        goal("comparisons that ended in an error", 0, sum(each["failed"] for each in found), at_most=True),
        goal("quiet ratios that stayed from reading to reading", len(known), stayed),
    ]
    for what, groups in (("cell", comparisons), ("load", by_load(found))):
        for way in WAYS:
            here = [each for each in groups if each["way"] == way and each["n"] >= ENOUGH]
            if here:
                name = f"{way}: least share of a {what} that holds the quiet ratio or is invalid"
                wanted.append(goal(name, HOLDS, min(each["share"] for each in here)))
            if shared := [each["invalid_share"] for each in here if LOADS[each["load"]] <= len(usable_cpus())]:
                name = f"{way}: largest invalid share of a {what} with up to one busy process per core"
                wanted.append(goal(name, INVALID, max(shared), at_most=True))
    wanted += [
        goal("share of planted slowdowns found", FOUND, each["held"] / each["n"])
        for each in found
        if each["pair"] == PLANTED
    ]
    if work is not None:
        wanted.append(goal("planted work by instruction counts, at least", 1.045, work))
        wanted.append(goal("planted work by instruction counts, at most", 1.055, work, at_most=True))
    return wanted
