"""What a stage is: a function of (network, section, data, seed) to (network, metrics)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from edgekd.artifact import Artifact, Spec, capture
from edgekd.chain.objective import distillation, terms_of
from edgekd.data import DataSet
from edgekd.errors import EdgekdError
from edgekd.files import sha256
from edgekd.recipe import Recipe, Stage
from edgekd.registry import Registry
from edgekd.train import CrossEntropy, Objective, fit, world

Log = Callable[[dict[str, Any]], None]
History = list[dict[str, Any]]
Modes = dict[str, Any]


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
    teacher_spec: Spec | None = None

    def fit(self, network: nn.Module, how: Callable[[Job, nn.Module], Modes] | None = None, **modes: Any) -> History:
        """Trains ``network``, which :attr:`spec` describes, by the stage's own section.

        Of several processes the first one calls this; the others are in :func:`edgekd.chain.assist.assist`.

        Args:
            how: makes more arguments of :func:`edgekd.train.fit`; under torchrun, a function of a module.
            modes: more such arguments; under torchrun, what can be pickled.
        """
        if world.size() > 1:
            world.broadcast(Call.of(self, network, how, modes))
        return self.train(network, how, modes)

    def train(self, network: nn.Module, how: Callable[[Job, nn.Module], Modes] | None, modes: Modes) -> History:
        """:meth:`fit` in this process, of several or alone."""
        modes = {**modes, **(how(self, network) if how else {})}
        section = modes.pop("section", self.section)
        objective = modes.pop("objective", None) or self.objective(network)
        own: dict[str, Any] = {"seed": self.seed, "name": self.name, "folder": self.folder, "log": self.log}
        data = self.data.labelled_only() if isinstance(objective, CrossEntropy) else self.data
        return fit(network, data, section, objective, **own, **modes)

    def objective(self, network: nn.Module) -> Objective:
        """The teacher's loss where there is a teacher, the labels' alone where there is none."""
        section: Stage = self.section
        if self.teacher is None or not getattr(section, "teacher", True):
            return CrossEntropy(section.label_smoothing)
        terms = terms_of(section, network, self.teacher, self.spec.input_shape, len(self.data.train))
        return distillation(section, self.teacher, terms)


@dataclass(frozen=True)
class Call:
    """A call of :meth:`Job.fit`, as other processes can make it: with networks as data, and without the samples."""

    network: Artifact
    teacher: Artifact | None
    labels: str
    """Their :func:`labels_digest`."""
    rest: dict[str, Any]
    how: Callable[[Job, nn.Module], Modes] | None
    modes: Modes

    @staticmethod
    def of(job: Job, network: nn.Module, how: Callable[[Job, nn.Module], Modes] | None, modes: Modes) -> Call:
        taught = capture(job.teacher, job.teacher_spec) if job.teacher and job.teacher_spec else None
        rest = {name: getattr(job, name) for name in ("name", "section", "seed", "folder", "needs")}
        return Call(capture(network, job.spec), taught, labels_digest(job.data), rest, how, modes)


def labels_digest(data: DataSet) -> str:
    """The SHA-256 of the training samples' labels."""
    return sha256(data.train.labels.numpy().tobytes())


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
