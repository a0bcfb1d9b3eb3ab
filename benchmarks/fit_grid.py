"""A space of benchmarks/fit.py on a grid: each student is trained once, and every search looks it up.

A student's cost is its multiply-accumulates and its bytes, the same for all searches. What it took to train is kept by
stage, so that each search can be charged for the stages that it would have trained itself.
"""

import json
import math
import shutil
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import say
from fit_space import GridSpace
from fit_students import StageCost, Trained
from numpy.typing import NDArray

from edgekd.artifact import Artifact
from edgekd.artifact_cache import KEY_DIGITS
from edgekd.data import DataSet, load_data
from edgekd.errors import DataError, EdgekdError, first_line
from edgekd.pipeline.candidate import try_recipe
from edgekd.pipeline.folder import LOG
from edgekd.search.arm_state import ArmSpace
from edgekd.search.opening import open_space
from edgekd.search.points import Points, arm_space
from edgekd.search.space import Arm, Dimension, OpenRange, Space
from edgekd.stages.network import restore
from edgekd.train import predictions_of

PARTS = ("validation", "test")


class Grid:
    """The students of a space, trained when they are first asked for.

    Args:
        folder: for trainings; ``rows.part.jsonl`` in it has a line for each, so that a killed benchmark goes on.
        rows: of an earlier record, in the form of :meth:`Trained.to_json`.
    """

    def __init__(self, folder: Path, space: GridSpace, rows: Sequence[dict[str, Any]] = ()):
        self.folder, self.space, self.log = folder, space, folder / "rows.part.jsonl"
        recipe = _written(folder, space.recipe)
        self.points = Points(without_int8(open_space(recipe), space))
        self.arms: list[ArmSpace] = [arm_space(arm) for arm in self.points.space.arms]
        known = self.log.read_text().splitlines() if self.log.exists() else []
        found = [Trained.from_json(row) for row in (*rows, *map(json.loads, known))]
        self._data: dict[int, DataSet] = {}
        self._teachers: dict[str, dict[str, NDArray[np.bool_]]] = {}
        self.rows = {(each.seed, each.arm, each.share, each.level): each for each in found}

    def shares(self, arm: str) -> list[float]:
        """Return the shares of an arm on the grid, the smallest first."""
        own = self._arm(arm)
        return [round(float(share), 4) for share in np.geomspace(own.low, own.high, self.space.steps[arm])]

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
        drawn = recipe.data.model_copy(update={"args": {**recipe.data.args, "seed": seed}})
        recipe = recipe.model_copy(update={"seed": seed, "data": drawn})
        # Data that cannot be read are no student's fault.
        if seed not in self._data:
            self._data[seed] = load_data(recipe.data, seed)
        folder = self.folder / f"run-{seed}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            figures = try_recipe(recipe, folder, self.folder / f"cache-{seed}", filed=False)
        except EdgekdError as error:
            say(f"seed {seed}, {arm} at {share:.1%}: {first_line(error)}")
            return Trained(seed, arm, share, level)
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


def without_int8(default: Space, space: GridSpace) -> Space:
    """Return the default space in float32 with ranking by magnitude: the kinds of students that ``space`` has."""
    return replace(default, arms=tuple(_in_float(arm, space) for arm in default.arms if arm.name in space.steps))


def _in_float(arm: Arm, space: GridSpace) -> Arm:
    document = deepcopy(dict(arm.document))
    document["stages"] = [stage for stage in document["stages"] if "quantize" not in stage]
    for stage in document["stages"]:
        if "prune" in stage:
            stage["prune"] = {**stage["prune"], "sensitivity": None, "round_to": space.round_to}
    dimensions = tuple(_within(each, space.cuts) for each in arm.dimensions if each.path[-1] != "sensitivity")
    return replace(arm, document=document, dimensions=dimensions)


def _within(dimension: Dimension, cuts: tuple[float, float]) -> Dimension:
    values = dimension.values
    if not (isinstance(values, OpenRange) and dimension.is_cut):
        return dimension
    low, high = cuts
    return replace(dimension, values=replace(values, low=low, high=high))


def _written(folder: Path, text: str) -> Path:
    """Write the recipe into ``folder``, where students of another one may not be."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / "fit.yaml"
    if recipe.exists() and recipe.read_text().splitlines()[:1] != text.splitlines()[:1]:
        raise DataError(f"{folder} holds students of another space; give another folder as --out")
    recipe.write_text(text)
    return recipe


def _seconds_of(log: Path) -> dict[str, float]:
    entries = map(json.loads, log.read_text().splitlines())
    return {each["key"][:KEY_DIGITS]: each.get("seconds", 0.0) for each in entries if each["event"] == "stage"}


def _right(folder: Path, data: DataSet, part: str) -> NDArray[np.bool_]:
    samples, network = getattr(data, part), restore(Artifact.load(folder)).eval()
    return np.asarray(predictions_of(network, data, samples).numpy() == samples.labels.numpy())
