"""The searches of benchmarks/fit.py on students whose predictions are formulas, and the spaces of its grids."""

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from edgekd.errors import DataError
from edgekd.records.candidate_figures import Figures
from edgekd.search.arm_state import ArmSpace

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SAMPLES, WHOLE = 4000, 100_000


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("fit_students", "fit_space", "fit_grid", "fit_searches", "fit_figures", "fit_digits", "fit_cifar10")
    names += ("cifar_pool",)
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    for name in names:
        sys.modules.pop(name)


@pytest.fixture
def grid(parts):
    class Formulas(parts.fit_grid.Grid):
        def __init__(self):
            self.rows = {}
            self.arms = [ArmSpace("wide", 0.1, 0.9, 3), ArmSpace("narrow", 0.1, 0.9, 3), ArmSpace("whole", levels=2)]
            steps = {arm.name: 12 if arm.is_cut else 1 for arm in self.arms}
            cases = [parts.fit_space.Case("6 points", 6.0)]
            self.space = parts.fit_space.GridSpace("formulas", "", steps, (0.1, 0.9), 2, cases, (), ("narrow", 0.5), 1)

        def _train(self, seed, arm, share, level):
            cost, worse = (0.5, 0.002) if arm == "wide" else (0.3, 0.004)
            drop = worse * (1 / share - 1) + 0.004 / (1 + level)
            macs = round(WHOLE * cost * share)
            figures = Figures(0.9 - drop, drop, 0.001, SAMPLES, macs, WHOLE, macs, WHOLE, macs / 1e6, WHOLE / 1e6)
            wrong, teacher = np.arange(SAMPLES) < round(drop * SAMPLES), np.zeros(SAMPLES, bool)
            right = (~wrong, ~teacher, ~wrong, ~teacher)
            taught = parts.fit_students.StageCost(f"01-distill-{arm}-{level}", 2 + level, 2.0)
            cut = parts.fit_students.StageCost(f"02-prune-{arm}-{share}-{level}", 1 + level, 1.0)
            return parts.fit_students.Trained(seed, arm, share, level, (taught, cut), figures, right)

        def find(self, *key):
            return self.rows.setdefault(key, self._train(*key))

    return Formulas()


def test_fit_keeps_the_budget_near_its_edge_and_pays_each_stage_once(parts, grid):
    case = parts.fit_space.Case("2 points", 2.0)
    grid.everything(0)
    ended = parts.fit_searches.fit(grid, 0, case)
    best = min(student.cost for student in grid.everything(0) if case.is_kept(student))
    assert case.is_kept(ended.winner) and ended.winner.cost <= 1.25 * best
    # The whole grid, by the same rule: no dearer, but for one step of it.
    whole = parts.fit_searches.exhaustive(grid, 0, case)
    assert case.is_kept(whole.winner) and whole.winner.cost <= 1.25 * ended.winner.cost
    assert len(whole.ledger.students) == sum(grid.space.steps.values())
    paid = {stage.key: stage.epochs for student in ended.ledger.students for stage in student.stages}
    assert ended.ledger.epochs == sum(paid.values()) == ended.ledger.spent[-1]


def test_the_others_stop_at_as_many_epochs_and_choose_by_validation_samples(parts, grid):
    searches, case = parts.fit_searches, parts.fit_space.Case("2 points", 2.0, {"latency_ratio": 0.2})
    ways = {"random": searches.random_search(grid, case, 0)}
    if importlib.util.find_spec("optuna"):
        ways["TPE"] = searches.tpe(grid, case, 0, 1.0)
    for suggest in ways.values():
        ended = searches.suggested(grid, 0, case, suggest, 1.0, 30, 60)
        assert ended.ledger.spent[-2] < 30 <= ended.ledger.spent[-1]
        assert all(case.keeps_costs(student) for student in ended.ledger.students)
        assert ended.winner == searches.chosen(ended.ledger.students, case, 1.0)
    assert searches.by_hand(grid, 0, case).winner.place == ("narrow", grid.nearest("narrow", 0.5))
    # Beyond its error a drop counts as none that is allowed.
    edge, safe = (grid.top(0, "wide", share) for share in (grid.shares("wide")[0], grid.shares("wide")[-1]))
    tight = parts.fit_space.Case("edge", 100 * edge.figures.drop + 0.05)
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
    assert parts.fit_students.Trained.from_json(student.to_json()).test_drop == student.test_drop
    # Half a point is told from two where the error is a tenth of one, and not where it is a point.
    cases = [parts.fit_space.Case("", points) for points in (2.0, 0.1)]
    assert [parts.fit_figures.unwarned(grid, [0], case) for case in cases] == [1.0, 0.0]
    # One sample in a hundred is predicted otherwise, by the same students.
    assert parts.fit_figures.noise(grid, [0])["test_error"] == pytest.approx(0.16, abs=0.1)


@pytest.fixture
def images(tmp_path):
    """Files of 8x8 pixels, each of one grey: of three classes, eight to train on and four to test on."""
    greys = iter(range(0, 252, 7))
    for part, count in (("train", 8), ("test", 4)):
        for name in "abc":
            folder = tmp_path / "images" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8), (next(greys),) * 3).save(folder / f"{number}.jpg")
    return tmp_path / "images"


def greys_of(folder):
    """The grey of each file, and its class by its place."""
    return {int(np.asarray(Image.open(path))[0, 0, 0]): "abc".index(path.parent.name) for path in folder.rglob("*.jpg")}


def test_a_seed_draws_as_many_images_of_each_class_from_files(parts, images):
    drawn = parts.cifar_pool.drawn
    first, again, other = (drawn(str(images), 12, 6, 6, seed=seed) for seed in (0, 0, 1))
    assert first["classes"] == ["a", "b", "c"]
    found = {}
    for part, folder, count in (("train", "train", 4), ("val", "train", 2), ("test", "test", 2)):
        raw, labels = first[part]
        assert raw.shape == (3 * count, 3, 8, 8) and np.bincount(labels).tolist() == [count] * 3
        known, greys = greys_of(images / folder), raw[:, 0, 0, 0].tolist()
        assert [known[grey] for grey in greys] == labels.tolist()
        assert (again[part][0] == raw).all() and sorted(greys) != sorted(other[part][0][:, 0, 0, 0].tolist())
        found[part] = set(greys)
    assert [len(found[part]) for part in ("train", "val", "test")] == [12, 6, 6]
    assert not found["train"] & found["val"]
    with pytest.raises(DataError, match="train has 24 images, and 25 are to be drawn"):
        drawn(str(images), 20, 5, 6)


def test_the_grid_of_digits_has_the_recorded_students(parts, tmp_path, monkeypatch):
    record = json.loads((BENCHMARKS / "results/fit.json").read_text())
    space = parts.fit_digits.digits(None, quick=False)
    grid = parts.fit_grid.Grid(tmp_path, space, record["students"])
    monkeypatch.setattr(grid, "_train", None)
    assert all(grid.everything(seed) for seed in record["seeds"])
    assert space.steps == record["steps"] and space.first_seed == record["seeds"][0]
    with pytest.raises(DataError, match="--data images: digits come with scikit-learn"):
        parts.fit_digits.digits(Path("images"), quick=False)


def test_the_grid_of_cifar10_has_kinds_of_the_default_space_without_int8(parts, images, tmp_path):
    grid = parts.fit_grid.Grid(tmp_path / "out", parts.fit_cifar10.cifar10(images, quick=False))
    counts = {arm.name: len(set(grid.shares(arm.name))) for arm in grid.arms}
    assert counts == dict(grid.space.steps) and sum(counts.values()) == 20
    kind = "resnet8 width 8 by widths"
    assert (grid.shares(kind)[0], grid.shares(kind)[-1]) == grid.space.cuts
    recipe = grid.points.recipe(kind, 0.1, 2, {})
    distill, prune = recipe.stages
    assert (recipe.teacher.args, recipe.student.args) == ({"width": 32}, {"width": 8})
    assert (distill.epochs, prune.epochs, prune.macs, prune.round_to) == (18, 8, 0.1, 2)
    assert recipe.data.args == {"folder": str(images), "train": 4000, "validation": 3000, "test": 5000}
    quick = parts.fit_cifar10.cifar10(images, quick=True)
    assert max(quick.steps.values()) == 3 and quick.first_seed not in range(100, 103)
    # Those have fewer images, so that they are others.
    with pytest.raises(DataError, match="holds students of another space"):
        parts.fit_grid.Grid(tmp_path / "out", quick)
    with pytest.raises(DataError, match="give --data FOLDER"):
        parts.fit_cifar10.cifar10(None, quick=False)
    with pytest.raises(DataError, match="there is no folder"):
        parts.fit_cifar10.cifar10(tmp_path / "nowhere", quick=False)


TINY = f"""\
name: tiny
data: {{source: "{BENCHMARKS / "digit_pool.py"}:drawn", args: {{test: 1500}}, grayscale: true, validation: 0.4}}
teacher: {{model: small_cnn, args: {{width: 8}}, train: {{epochs: 1, lr: 0.05}}}}
budget: {{accuracy_drop: 4.0}}
"""


def test_a_grid_that_is_interrupted_goes_on(parts, tmp_path, monkeypatch):
    case = parts.fit_space.Case("4 points", 4.0)
    kind = "teacher by widths"
    space = parts.fit_space.GridSpace("tiny", TINY, {kind: 2}, (0.3, 0.6), 2, (case,), (), (kind, 0.5), 1)
    grid = parts.fit_grid.Grid(tmp_path, space)
    assert grid.shares(kind) == [0.3, 0.6]
    student = grid.find(7, kind, 0.3, 0)
    # The seed comes on top of the recipe's own arguments: 1,500 of 1,797 digits to test on, 0.4 of the others.
    assert [len(each) for each in student.right] == [119, 119, 1500, 1500]
    assert student.figures.value == student.right[0].mean() and student.cost <= 0.31
    assert [stage.epochs for stage in student.stages] == [1]
    again = parts.fit_grid.Grid(tmp_path, space)
    monkeypatch.setattr(again, "_train", None)
    assert again.find(7, kind, 0.3, 0).to_json() == student.to_json()
