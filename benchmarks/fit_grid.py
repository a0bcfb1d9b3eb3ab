"""The space of benchmarks/fit.py on a grid: each student is trained once, and every search looks it up.

A student's cost is its multiply-accumulates and its bytes, the same for all searches. What it took to train is kept by
stage, so that each search can be charged for the stages that it would have trained itself.
"""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from common import say
from numpy.typing import NDArray
from paired import packed, unpacked

from edgekd.artifact import Artifact
from edgekd.artifact_cache import KEY_DIGITS
from edgekd.data import DataSet, load_data
from edgekd.errors import EdgekdError, first_line
from edgekd.pipeline.candidate import try_recipe
from edgekd.pipeline.folder import LOG
from edgekd.records.candidate_figures import Figures
from edgekd.search.arm_state import ArmSpace
from edgekd.search.opening import open_space
from edgekd.search.points import Points, arm_space
from edgekd.search.space import Arm, Dimension, OpenRange, Space
from edgekd.stages.network import restore
from edgekd.train import predictions_of

# A fit of this recipe leaves student and stages to the default space.
POOL = Path(__file__).with_name("digit_pool.py")
RECIPE = f"""\
name: fit_benchmark
data: {{source: "{POOL}:drawn", grayscale: true, batch_size: 32, validation: 0.49}}
teacher: {{model: resnet8, args: {{width: 32}}, train: {{epochs: 10, lr: 0.05}}}}
budget: {{accuracy_drop: 4.0}}
"""
PARTS = ("validation", "test")
# The largest share of its multiply-accumulates that a cut keeps here.
MOST = 0.6
# Channel counts are multiples of this, so that the grid has steps: networks of 8x8 pixels are narrow.
ROUND_TO = 2
# The kinds of students, each with its steps on the grid: most where students are the cheapest.
STEPS = {
    "teacher by widths": 3,
    "resnet8 width 16 by widths": 4,
    "resnet8 width 8 by widths": 20,
    "resnet8 width 8": 1,
}


@dataclass(frozen=True)
class StageCost:
    """A stage of a student, by the key of its content, with what its training took."""

    key: str
    epochs: int
    seconds: float


@dataclass(frozen=True)
class Trained:
    """A student of the grid; without ``figures`` no cut reaches its share, or its training failed.

    Attributes:
        figures: on the validation samples; ``ms`` are its multiply-accumulates in millions.
        right: which of the validation and of the test samples it predicts rightly, and which its teacher does.
    """

    seed: int
    arm: str
    share: float
    level: int
    stages: tuple[StageCost, ...] = ()
    figures: Figures | None = None
    right: tuple[NDArray[np.bool_], ...] = ()

    @property
    def place(self) -> tuple[str, float]:
        return self.arm, self.share

    @property
    def cost(self) -> float:
        """Its multiply-accumulates over the teacher's."""
        assert self.figures
        return self.figures.macs / self.figures.teacher_macs

    @cached_property
    def test_drop(self) -> float:
        _, _, own, teacher = self.right
        return float(teacher.mean() - own.mean())

    def to_json(self) -> dict[str, Any]:
        about = {"seed": self.seed, "arm": self.arm, "share": self.share, "level": self.level}
        if self.figures is None:
            return about
        counts = [len(each) for each in self.right]
        return {
            **about,
            "stages": [[each.key, each.epochs, each.seconds] for each in self.stages],
            "figures": self.figures.to_json(),
            "right": [[count, packed(each)] for count, each in zip(counts, self.right, strict=True)],
        }

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Trained":
        figures = Figures.from_json(row["figures"]) if "figures" in row else None
        stages = tuple(StageCost(*each) for each in row.get("stages", ()))
        right = tuple(unpacked(text, count) for count, text in row.get("right", ()))
        return cls(row["seed"], row["arm"], row["share"], row["level"], stages, figures, right)


class Grid:
    """The students of the space, trained when they are first asked for.

    Args:
        folder: for trainings; ``rows.part.jsonl`` in it has a line for each, so that a killed benchmark goes on.
        steps: how many shares the cut of each arm may keep.
        rows: of an earlier record, in the form of :meth:`Trained.to_json`.
    """

    def __init__(self, folder: Path, steps: Mapping[str, int], rows: Sequence[dict[str, Any]] = ()):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.steps, self.log = folder, steps, folder / "rows.part.jsonl"
        (folder / "fit.yaml").write_text(RECIPE)
        self.points = Points(without_int8(open_space(folder / "fit.yaml")))
        self.arms: list[ArmSpace] = [arm_space(arm) for arm in self.points.space.arms]
        known = self.log.read_text().splitlines() if self.log.exists() else []
        found = [Trained.from_json(row) for row in (*rows, *map(json.loads, known))]
        self._data: dict[int, DataSet] = {}
        self._teachers: dict[str, dict[str, NDArray[np.bool_]]] = {}
        self.rows = {(each.seed, each.arm, each.share, each.level): each for each in found}

    def shares(self, arm: str) -> list[float]:
        """Return the shares of an arm on the grid, the smallest first."""
        own = self._arm(arm)
        return [round(float(share), 4) for share in np.geomspace(own.low, own.high, self.steps[arm])]

    def nearest(self, arm: str, share: float) -> float:
        """Return the share on the grid that is nearest to ``share`` by its factor."""
        return min(self.shares(arm), key=lambda each: abs(math.log(each / share)))

    def top(self, seed: int, arm: str, share: float) -> Trained:
        """Return a student after the longest training."""
        return self.find(seed, arm, share, self._arm(arm).top)

    def find(self, seed: int, arm: str, share: float, level: int) -> Trained:
        key = (seed, arm, share, level)
        if key not in self.rows:
            self.rows[key] = self._train(*key)
            with self.log.open("a") as log:
                log.write(json.dumps(self.rows[key].to_json()) + "\n")
        return self.rows[key]

    def everything(self, seed: int) -> list[Trained]:
        """Return each student of the grid after its longest training."""
        found = [self.top(seed, arm.name, share) for arm in self.arms for share in self.shares(arm.name)]
        return [each for each in found if each.figures]

    def _arm(self, name: str) -> ArmSpace:
        return next(arm for arm in self.arms if arm.name == name)

    def _train(self, seed: int, arm: str, share: float, level: int) -> Trained:
        recipe = self.points.recipe(arm, share, level, {})
        drawn = recipe.data.model_copy(update={"args": {"seed": seed}})
        recipe = recipe.model_copy(update={"seed": seed, "data": drawn})
        folder = self.folder / f"run-{seed}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            figures = try_recipe(recipe, folder, self.folder / f"cache-{seed}", filed=False)
        except EdgekdError as error:
            say(f"seed {seed}, {arm} at {share:.1%}: {first_line(error)}")
            return Trained(seed, arm, share, level)
        if seed not in self._data:
            self._data[seed] = load_data(recipe.data, seed)
        data = self._data[seed]
        teacher, *results = sorted((folder / "stages").glob("[0-9]*"))
        seconds = self._seconds | _seconds_of(folder / LOG)
        costs = [
            StageCost(result.name, getattr(stage, "epochs", 0), seconds.get(result.name.rpartition("-")[2], 0.0))
            for stage, result in zip(recipe.stages, results, strict=True)
        ]
        if teacher.name not in self._teachers:
            self._teachers[teacher.name] = {part: _right(teacher, data, part) for part in PARTS}
        right = [
            each for part in PARTS for each in (_right(results[-1], data, part), self._teachers[teacher.name][part])
        ]
        figures = replace(figures, ms=figures.macs / 1e6, teacher_ms=figures.teacher_macs / 1e6)
        return Trained(seed, arm, share, level, tuple(costs), figures, tuple(right))

    @property
    def _seconds(self) -> dict[str, float]:
        return {each.key.rpartition("-")[2]: each.seconds for row in self.rows.values() for each in row.stages}


def without_int8(space: Space) -> Space:
    """Return the default space in float32 with ranking by magnitude, whose students take seconds to train."""
    return replace(space, arms=tuple(_in_float(arm) for arm in space.arms if arm.name in STEPS))


def _in_float(arm: Arm) -> Arm:
    document = deepcopy(dict(arm.document))
    document["stages"] = [stage for stage in document["stages"] if "quantize" not in stage]
    for stage in document["stages"]:
        if "prune" in stage:
            stage["prune"] = {**stage["prune"], "sensitivity": None, "round_to": ROUND_TO}
    dimensions = tuple(_no_larger(each) for each in arm.dimensions if each.path[-1] != "sensitivity")
    return replace(arm, document=document, dimensions=dimensions)


def _no_larger(dimension: Dimension) -> Dimension:
    values = dimension.values
    if not (isinstance(values, OpenRange) and dimension.is_cut):
        return dimension
    return replace(dimension, values=replace(values, high=MOST))


def _seconds_of(log: Path) -> dict[str, float]:
    entries = map(json.loads, log.read_text().splitlines())
    return {each["key"][:KEY_DIGITS]: each.get("seconds", 0.0) for each in entries if each["event"] == "stage"}


def _right(folder: Path, data: DataSet, part: str) -> NDArray[np.bool_]:
    samples, network = getattr(data, part), restore(Artifact.load(folder)).eval()
    return np.asarray(predictions_of(network, data, samples).numpy() == samples.labels.numpy())
