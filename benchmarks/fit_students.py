"""The students of a grid of benchmarks/fit.py, as they are kept in its record."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from paired import packed, unpacked

from edgekd.records.candidate_figures import Figures


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
        """Return its multiply-accumulates over the teacher's."""
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
