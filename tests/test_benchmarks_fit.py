"""The searches of benchmarks/fit.py on students whose predictions are formulas."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgekd.records.candidate_figures import Figures
from edgekd.search.arm_state import ArmSpace

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SAMPLES, WHOLE = 4000, 100_000


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("fit_grid", "fit_searches", "fit_figures")
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    for name in names:
        sys.modules.pop(name)


@pytest.fixture
def grid(parts):
    class Formulas(parts.fit_grid.Grid):
        def __init__(self):
            self.rows = {}
            self.arms = [
                ArmSpace("wide", 0.1, 0.9, 3),
                ArmSpace("resnet8 width 16 by widths", 0.1, 0.9, 3),
                ArmSpace("whole", levels=2),
            ]
            self.steps = {arm.name: 12 if arm.is_cut else 1 for arm in self.arms}

        def _train(self, seed, arm, share, level):
            cost, worse = (0.5, 0.002) if arm == "wide" else (0.3, 0.004)
            drop = worse * (1 / share - 1) + 0.004 / (1 + level)
            macs = round(WHOLE * cost * share)
            figures = Figures(0.9 - drop, drop, 0.001, SAMPLES, macs, WHOLE, macs, WHOLE, macs / 1e6, WHOLE / 1e6)
            wrong, teacher = np.arange(SAMPLES) < round(drop * SAMPLES), np.zeros(SAMPLES, bool)
            right = (~wrong, ~teacher, ~wrong, ~teacher)
            taught = parts.fit_grid.StageCost(f"01-distill-{arm}-{level}", 2 + level, 2.0)
            cut = parts.fit_grid.StageCost(f"02-prune-{arm}-{share}-{level}", 1 + level, 1.0)
            return parts.fit_grid.Trained(seed, arm, share, level, (taught, cut), figures, right)

        def find(self, *key):
            return self.rows.setdefault(key, self._train(*key))

    return Formulas()


def test_fit_keeps_the_budget_near_its_edge_and_pays_each_stage_once(parts, grid):
    case = parts.fit_searches.Case("2 points", 2.0)
    grid.everything(0)
    ended = parts.fit_searches.fit(grid, 0, case)
    best = min(student.cost for student in grid.everything(0) if case.is_kept(student))
    assert case.is_kept(ended.winner) and ended.winner.cost <= 1.25 * best
    # The whole grid, by the same rule: no dearer, but for one step of it.
    whole = parts.fit_searches.exhaustive(grid, 0, case)
    assert case.is_kept(whole.winner) and whole.winner.cost <= 1.25 * ended.winner.cost
    assert len(whole.ledger.students) == sum(grid.steps.values())
    paid = {stage.key: stage.epochs for student in ended.ledger.students for stage in student.stages}
    assert ended.ledger.epochs == sum(paid.values()) == ended.ledger.spent[-1]


def test_the_others_stop_at_as_many_epochs_and_choose_by_validation_samples(parts, grid):
    searches, case = parts.fit_searches, parts.fit_searches.Case("2 points", 2.0, {"latency_ratio": 0.2})
    ways = {"random": searches.random_search(grid, case, 0)}
    if importlib.util.find_spec("optuna"):
        ways["TPE"] = searches.tpe(grid, case, 0, 1.0)
    for suggest in ways.values():
        ended = searches.suggested(grid, 0, case, suggest, 1.0, 30, 60)
        assert ended.ledger.spent[-2] < 30 <= ended.ledger.spent[-1]
        assert all(case.keeps_costs(student) for student in ended.ledger.students)
        assert ended.winner == searches.chosen(ended.ledger.students, case, 1.0)
    assert searches.by_hand(grid, 0, case).winner.arm == searches.BY_HAND[0]
    # Beyond its error a drop counts as none that is allowed.
    edge, safe = (grid.top(0, "wide", share) for share in (grid.shares("wide")[0], grid.shares("wide")[-1]))
    tight = searches.Case("edge", 100 * edge.figures.drop + 0.05)
    assert [searches.chosen([edge, safe], tight, errors) for errors in (0.0, 1.0)] == [edge, safe]


def test_figures_of_the_outcomes(parts, grid):
    rows = [
        {"search": "fit", "reachable": True, "kept": True, "epochs": 10, "over_known": 0.1, "over_grid": 0.2},
        {"search": "fit", "reachable": True, "kept": False, "epochs": 20},
        {"search": "fit", "reachable": False, "kept": False, "epochs": 900},
    ]
    found = parts.fit_figures.summary(rows, "fit")
    assert (found["searches"], found["kept"], found["epochs"], found["over_known"]) == (2, 1, 15, 0.1)
    pairs = [{"seed": seed, "fit": 10, "tpe": tpe, "same": tpe < 80} for seed, tpe in ((0, 20), (0, 80), (1, 40))]
    fewer = parts.fit_figures.times_fewer(pairs)
    assert fewer["ratio"] == pytest.approx(4.0) and fewer["never"] == 1
    student = grid.top(0, "wide", grid.shares("wide")[3])
    assert parts.fit_grid.Trained.from_json(student.to_json()).test_drop == student.test_drop
    # Half a point is told from two where the error is a tenth of one, and not where it is a point.
    cases = [parts.fit_searches.Case("", points) for points in (2.0, 0.1)]
    assert [parts.fit_figures.unwarned(grid, [0], case) for case in cases] == [1.0, 0.0]
    # One sample in a hundred is predicted otherwise, by the same students.
    assert parts.fit_figures.noise(grid, [0])["test_error"] == pytest.approx(0.16, abs=0.1)
