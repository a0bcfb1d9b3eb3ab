"""What a stage is: a function of (network, section, data, seed) to (network, metrics)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from edgekd.artifact import Spec
from edgekd.chain.objective import distillation, terms_of
from edgekd.data import DataSet
from edgekd.errors import EdgekdError
from edgekd.recipe import Recipe, Stage
from edgekd.registry import Registry
from edgekd.train import CrossEntropy, Objective, answers_of, fit
from edgekd.train.device import make_fabric

Log = Callable[[dict[str, Any]], None]
History = list[dict[str, Any]]


def later(entry: dict[str, Any], done: int) -> dict[str, Any]:
    """``entry`` of a training that ``done`` epochs of the same stage went before."""
    return {**entry, "epoch": done + entry["epoch"]}


@dataclass(frozen=True)
class Job:
    """All that a stage may depend on, and where it may keep checkpoints."""

    name: str
    network: nn.Module
    spec: Spec
    section: Any
    data: DataSet
    seed: int
    teacher: nn.Module | None
    folder: Path
    log: Log
    needs: dict[str, Any] = field(default_factory=dict)
    """What the stage asked of the rest of the recipe."""

    def fit(self, network: nn.Module, **modes: Any) -> History:
        """Trains ``network`` by the stage's own section; ``modes`` are more arguments of :func:`edgekd.train.fit`."""
        section = modes.pop("section", self.section)
        objective = modes.pop("objective", None) or self.objective(network)
        alone = isinstance(objective, CrossEntropy)
        settings: dict[str, Any] = {"seed": self.seed, "name": self.name, "folder": self.folder, "log": self.log}
        settings |= {"teacher_answers": None if alone else self.teacher_answers, **modes}
        return fit(network, self.data.labelled_only() if alone else self.data, section, objective, **settings)

    @cached_property
    def teacher_answers(self) -> Tensor | None:
        """What the teacher answers to the validation samples: (N,) classes; computed once for the whole stage."""
        if self.teacher is None:
            return None
        self.teacher.eval().to(make_fabric(False).device)
        answers = answers_of(self.teacher, self.data, self.data.validation)
        self.teacher.cpu()
        return answers

    def objective(self, network: nn.Module) -> Objective:
        """The teacher's loss where there is a teacher, the labels' alone where there is none."""
        section: Stage = self.section
        if self.teacher is None or not getattr(section, "teacher", True):
            return CrossEntropy(section.label_smoothing)
        terms = terms_of(section, network, self.teacher, self.spec.input_shape, len(self.data.train))
        return distillation(section, self.teacher, terms)


@dataclass(frozen=True)
class Result:
    network: nn.Module
    spec: Spec
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A stage's function; ``version`` goes up when the same input would give another output.

    ``needs`` takes from the recipe what the stage depends on beside its own section; such a stage has the teacher
    to compare with even where it does not learn from it.
    """

    version: int
    product: str
    run: Callable[[Job], Result]
    needs: Callable[[Recipe], dict[str, Any]] | None = None


KINDS: Registry[Kind] = Registry("stage", EdgekdError)


def stage(
    name: str, product: str, version: int, needs: Callable[[Recipe], dict[str, Any]] | None = None
) -> Callable[[Callable[[Job], Result]], Callable[[Job], Result]]:
    """Registers a stage under ``name``; ``product`` is what reports call the network it gives."""

    def add(run: Callable[[Job], Result]) -> Callable[[Job], Result]:
        KINDS[name] = Kind(version, product, run, needs)
        return run

    return add
