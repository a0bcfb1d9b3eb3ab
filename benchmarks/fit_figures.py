"""Figures of the outcomes of benchmarks/fit.py: shares, medians, a ratio with its interval, and the noise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from fit_grid import Grid
from fit_searches import test_error
from fit_space import Case

from edgekd.search.forecast import Forecast

# What a winner's cost is compared with.
OVERS = {
    "over_grid": "the whole grid's by the same rule",
    "over_known": "the known cheapest",
    "over_cheapest": "the seed's cheapest",
}


def summary(outcomes: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    own = [row for row in outcomes if row["search"] == name and row["reachable"]]
    about: dict[str, Any] = {"searches": len(own), "kept": sum(row["kept"] for row in own)}
    for key in OVERS:
        values = [row[key] for row in own if key in row]
        about[key] = float(np.median(values)) if values else None
    for key in ("trainings", "epochs", "seconds"):
        values = [row[key] for row in own if key in row]
        about[key] = float(np.mean(values)) if values else None
    return about


def times_fewer(pairs: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return TPE's epochs over fit's to a student as cheap: geometric mean, with seeds drawn anew for its interval."""
    if not pairs:
        return None
    logs: dict[int, list[float]] = {seed: [] for seed in sorted({pair["seed"] for pair in pairs})}
    for pair in pairs:
        logs[pair["seed"]].append(float(np.log(pair["tpe"] / pair["fit"])))
    draws, each = np.random.default_rng(0), list(logs.values())
    means = [np.mean(np.concatenate([each[i] for i in draws.integers(len(each), size=len(each))])) for _ in range(2000)]
    low, high = np.exp(np.percentile(means, (2.5, 97.5)))
    ratio = float(np.exp(np.mean(np.concatenate(each))))
    # TPE's epochs count in full where it never found one, so that the ratio is a lower bound.
    never = sum(not pair["same"] for pair in pairs)
    return {"ratio": ratio, "ci95": [float(low), float(high)], "pairs": len(pairs), "never": never}


def noise(grid: Grid, seeds: Sequence[int]) -> dict[str, float]:
    """Return in points what samples leave open of a drop, and how alike that is for the students of one seed.

    Students count whose drop a budget may allow; all, where there is none.
    """
    every = [each for seed in seeds for each in grid.everything(seed)]
    found = [each for each in every if each.test_drop < grid.space.loosest] or every
    differences = {seed: [each.right[1] * 1.0 - each.right[0] for each in found if each.seed == seed] for seed in seeds}
    alike = [np.corrcoef(np.stack(each)) for each in differences.values() if len(each) > 1]
    pairs = np.concatenate([each[np.triu_indices(len(each), 1)] for each in alike]) if alike else np.array([np.nan])
    errors = [
        [float(np.std(1.0 * each.right[i + 1] - each.right[i]) / len(each.right[i]) ** 0.5) for each in found]
        for i in (0, 2)
    ]
    return {
        **{"validation_samples": len(found[0].right[0]), "test_samples": len(found[0].right[2])},
        **{"validation_error": 100 * float(np.mean(errors[0])), "test_error": 100 * float(np.mean(errors[1]))},
        "correlation": float(np.nanmean(pairs)),
    }


def unwarned(grid: Grid, seeds: Sequence[int], case: Case) -> float | None:
    """Return the share of students about the bound of which the command finds that there are samples enough."""
    found = []
    for seed in seeds:
        forecast = Forecast(0.0, {}, test_error(grid, seed))
        figures = [each.figures for each in grid.everything(seed) if each.figures]
        found += [forecast.noise_warning(each, case.goal) is None for each in figures if case.goal.is_near(each)]
    return sum(found) / len(found) if found else None
