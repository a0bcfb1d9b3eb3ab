"""Rates at which the gate fails an unchanged network of values, and finds 5 % more error.

    python benchmarks/gate/regression.py --json benchmarks/results/gate/regression.json

Networks are drawn: errors of a heavy-tailed distribution on a test set, whose targets have a deviation of 1. An
unchanged network's predictions are rounded otherwise, by as much as int8 moves them; a worse one's have 5 % more error,
by scaling or by noise. Each is judged by the gate's own rule for the mean absolute error, at its own confidence.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from common import finish, goal, options, say

from edgekd.formatting import exceeds
from edgekd.gate.rules import default_rules
from edgekd.tasks.compare import compare
from edgekd.tasks.regression import Regression
from edgekd.tasks.regression.evidence import AbsoluteErrors

SIZES, ROUNDING, MORE, CONFIDENCE = (1000, 2000), 0.02, 0.05, 0.95
NETWORKS, WORSE = 300, 100
MAE = Regression.metrics[0]


def errors(random: np.random.Generator, samples: int) -> np.ndarray:
    return 0.3 * random.standard_t(4, (samples, 1))


def fails(before: np.ndarray, after: np.ndarray) -> bool:
    """Judge as the gate does: surely worse by more than is allowed."""
    known = np.ones(before.shape, bool)
    found = compare(MAE, AbsoluteErrors(before, known), AbsoluteErrors(after, known), CONFIDENCE)
    return exceeds(found.lower, default_rules()[MAE.name].allows(found.before))


def noise_for(before: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Noise that makes the mean absolute error larger by ``MORE``, found by halving."""
    drawn, low, high = random.normal(size=before.shape), 0.0, 2.0
    for _ in range(40):
        middle = (low + high) / 2
        is_enough = np.abs(before + middle * drawn).mean() > (1 + MORE) * np.abs(before).mean()
        low, high = (low, middle) if is_enough else (middle, high)
    return high * drawn


def rates(samples: int, networks: int, worse: int) -> dict[str, int]:
    """Return how many networks of each kind fail on so many samples."""
    random = np.random.default_rng(samples)
    unchanged = scaled = noisy = 0
    for _ in range(networks):
        before = errors(random, samples)
        unchanged += fails(before, before + ROUNDING * random.normal(size=before.shape))
    for _ in range(worse):
        before = errors(random, samples)
        scaled += fails(before, (1 + MORE) * before)
        noisy += fails(before, before + noise_for(before, random))
    found = {"unchanged_failed": unchanged, "scaled_failed": scaled, "noisy_failed": noisy}
    return {"samples": samples, "unchanged": networks, "worse": worse, **found}


def goals(rows: list[dict[str, int]]) -> list[dict[str, Any]]:
    most = max(row["unchanged_failed"] / row["unchanged"] for row in rows)
    return [
        goal("share of unchanged networks that fail, at most", 0.01, most, at_most=True),
        *(
            goal(f"share of networks with 5 % more error by {kind} that fail, {row['samples']} samples", 0.95, share)
            for row in rows
            for kind in ("scaling", "noise")
            for share in [row[f"{'scaled' if kind == 'scaling' else 'noisy'}_failed"] / row["worse"]]
        ),
    ]


def main() -> None:
    arguments = options(__doc__)
    few = arguments.quick
    rows = [rates(samples, 20 if few else NETWORKS, 10 if few else WORSE) for samples in SIZES]
    for row in rows:
        say(json.dumps(row))
    finish(arguments, {"rows": rows}, goals(rows))


if __name__ == "__main__":
    main()
