"""What the search and the command do with a budget that nothing meets."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fit_searches as searches
import numpy as np
from fit_grid import Grid
from small_search import small_search

HOURS = 0.2
RECIPE = small_search(teacher=2, distill=2, prune=1) + "objective: size\n"
BUDGETS = ("budget.accuracy_drop=-60", "budget={accuracy_drop: 30, size_ratio: 0.001}")


def searched(grid: Grid, seeds: Sequence[int], outcomes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the epochs until a search says that a budget is unreachable, over those of searches that met theirs."""
    found = []
    for seed in seeds:
        usual = [row["epochs"] for row in outcomes if (row["search"], row["seed"]) == ("fit", seed)]
        for case in grid.space.unreachable:
            ended = searches.fit(grid, seed, case)
            share = ended.ledger.epochs / float(np.mean(usual))
            row = {"seed": seed, "budget": case.name, "epochs": ended.ledger.epochs, "share_of_epochs": share}
            found.append({**row, "said": ended.unreachable})
    return found


def command_ends(folder: Path) -> dict[str, Any]:
    """Run ``edgekd fit`` with ``--hours`` on budgets that nothing meets; return its exit codes and its times."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "toy.yaml").write_text(RECIPE)
    codes, seconds, said = [], [], []
    for number, budget in enumerate(BUDGETS):
        words = ["toy.yaml", "--out", f"fit-{number}-{os.getpid()}", "--hours", str(HOURS), "--set", budget]
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "edgekd", "fit", *words], cwd=folder, capture_output=True, text=True
        )
        codes.append(done.returncode)
        seconds.append(round(time.monotonic() - started, 1))
        said.append((done.stdout.strip().splitlines() or [done.stderr.strip()])[-1])
    return {"hours": HOURS, "codes": codes, "seconds": seconds, "said": said, "share": max(seconds) / 3600 / HOURS}
