"""The input and the result of a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic

import torch
from torch import Tensor, nn
from typing_extensions import TypeVar

from edgekd.artifact import Artifact, capture
from edgekd.data import DataSet
from edgekd.distill.ensemble import Ensemble, EnsembleOptions
from edgekd.distill.objective import Term
from edgekd.files import sha256
from edgekd.spec import Spec
from edgekd.stages.deployment import Deployment, Precisions
from edgekd.stages.network import restore
from edgekd.stages.objective import distillation, running_teacher, terms_of
from edgekd.stages.stage import Stage
from edgekd.strict_json import JsonObject
from edgekd.tasks.signature import Shape, Signature
from edgekd.tasks.task import Task
from edgekd.tasks.tensors import Named, map_inputs
from edgekd.train import FitOptions, Objective, distributed, fit, predictions_of
from edgekd.train.batches import mix
from edgekd.train.device import channels_last, make_fabric
from edgekd.train.history import Epoch, History
from edgekd.train.objective import TaskLoss
from edgekd.train.options import Train

Log = Callable[[Epoch], None]
Needs = Deployment | Precisions
StageT = TypeVar("StageT", bound=Stage, default=Any)
NeedsT = TypeVar("NeedsT", default=Any)

# What the last teacher with a key predicts for the validation samples.
_PREDICTED: dict[str, Tensor] = {}


@dataclass(frozen=True)
class Training:
    """One training of a stage; the stage's own objective where it names none."""

    section: Train
    options: FitOptions
    objective: Objective | None = None

    def having(self, **options: Any) -> Training:
        """Return this training with other :class:`~edgekd.train.FitOptions`."""
        return replace(self, options=replace(self.options, **options))


How = Callable[["Job", nn.Module, Training], Training]


@dataclass(frozen=True)
class Job(Generic[StageT, NeedsT]):
    """All that a stage may depend on, and where it may keep checkpoints."""

    name: str
    network: nn.Module
    spec: Spec
    stage: StageT
    data: DataSet
    seed: int
    teacher: nn.Module | None
    folder: Path
    log: Log
    needs: NeedsT = None  # type: ignore[assignment]
    """What the stage depends on apart from its options, as :class:`edgekd.stages.work.StageWork` finds it."""
    teacher_specs: tuple[Spec, ...] = ()
    """Of the teacher, or of all that an ensemble has."""
    teacher_key: str = ""
    """Names what the teacher's predictions follow from; with a key they are computed once for one job after another."""

    @property
    def training(self) -> Training:
        """Return the training that the stage's own options describe."""
        options = FitOptions(
            seed=self.seed,
            name=self.name,
            folder=self.folder,
            teacher_predictions=self.teacher_predictions if self.stage.passes else None,
            log=self.log,
        )
        section = self.stage.train_options
        assert section is not None
        return Training(section, options)

    def fit(
        self,
        network: nn.Module,
        how: How | None = None,
        *,
        training: Training | None = None,
        spec: Spec | None = None,
    ) -> History:
        """Train ``network``.

        Of several processes the first one calls this; the others are in
        :func:`edgekd.pipeline.worker.train_for_rank_zero`.

        Args:
            how: changes the training to one that can't be pickled; under torchrun, a function of a module.
            training: :attr:`training` if left out.
            spec: what describes ``network``; :attr:`spec` if left out.
        """
        training = training or self.training
        if distributed.world_size() > 1:
            distributed.broadcast(FitCall.of(self, network, spec or self.spec, how, training))
        return self.train(network, how, training)

    def train(self, network: nn.Module, how: How | None, training: Training) -> History:
        """Do the work of :meth:`fit` in this process, of several or alone."""
        # What adapters start from must not depend on what was done before in this process.
        torch.manual_seed(mix(self.seed, 4, 0))
        training = how(self, network, training) if how else training
        objective = training.objective or self.objective(network)
        if not isinstance(objective, TaskLoss):
            return fit(network, self.data, training.section, objective, training.options)
        options = replace(training.options, teacher_predictions=None)
        return fit(network, self.data.labelled_only(), training.section, objective, options)

    def labelled(self, count: int) -> Iterator[tuple[Named, Tensor]]:
        """Yield ``count`` batches of random training inputs with their targets, the same for one seed."""
        data = self.data.labelled_only()
        chosen = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(self.seed))
        # A last batch of one sample, where others have more, would stop a BatchNorm of vectors.
        least = min(2, data.batch_size, len(chosen))
        parts = [part for part in chosen.split(data.batch_size)[:count] if len(part) >= least]
        for raw, targets in data.train.stream(parts):
            yield map_inputs(data.to_input(raw), channels_last), targets

    @cached_property
    def teacher_predictions(self) -> Tensor | None:
        """Return the teacher's predictions on the validation samples, (N,)."""
        if self.teacher is None:
            return None
        if self.teacher_key in _PREDICTED:
            return _PREDICTED[self.teacher_key]
        self.teacher.eval().to(make_fabric(False).device)
        predictions = predictions_of(self.teacher, self.data, self.data.validation)
        self.teacher.cpu()
        if self.teacher_key:
            _PREDICTED.clear()
            _PREDICTED[self.teacher_key] = predictions
        return predictions

    def objective(self, network: nn.Module) -> Objective:
        """Return the teacher's loss where there is a teacher, else the labels' alone."""
        stage = self.stage
        if self.teacher is None or not stage.learns_from_teacher:
            return TaskLoss(self.data.task, stage.label_smoothing)
        task = self.data.task
        terms = terms_of(stage, network, self.teacher, self.spec.inputs, len(self.data.train), task)
        return distillation(stage, self.running_teacher(terms), terms, task)

    def running_teacher(self, terms: list[Term]) -> nn.Module:
        """Return the teacher as the stage runs it in a training with the losses ``terms``."""
        teacher, inputs = self.teacher, self.spec.inputs
        assert teacher is not None

        def in_int8() -> nn.Module | None:
            # Quantisation takes seconds to import.
            from edgekd.stages.int8_teacher import int8_teacher

            predictions = self.teacher_predictions
            assert predictions is not None
            return int8_teacher(teacher, self.data, inputs, predictions)

        return running_teacher(self.stage, teacher, terms, inputs, in_int8)


@dataclass(frozen=True)
class FitCall:
    """A call of :meth:`Job.fit`, as other processes can make it: with networks as data, and without the samples."""

    network: Artifact
    teachers: tuple[Artifact, ...]
    together: EnsembleOptions | None
    """The options of the :class:`~edgekd.distill.Ensemble` of several teachers."""
    labels: str
    """Their :func:`labels_digest`."""
    how: How | None
    training: Training
    name: str
    stage: Any
    seed: int
    folder: Path
    needs: Any

    @staticmethod
    def of(job: Job, network: nn.Module, spec: Spec, how: How | None, training: Training) -> FitCall:
        taught, together = job.teacher, None
        members = [taught] if taught else []
        if isinstance(taught, Ensemble):
            members, together = list(taught.teachers), taught.options
        teachers = tuple(capture(each, own) for each, own in zip(members, job.teacher_specs, strict=True))
        return FitCall(
            network=capture(network, spec),
            teachers=teachers,
            together=together,
            labels=labels_digest(job.data),
            how=how,
            training=training.having(log=None),
            name=job.name,
            stage=job.stage,
            seed=job.seed,
            folder=job.folder,
            needs=job.needs,
        )

    def job(self, data: DataSet) -> Job:
        """Return the same job for another process, which keeps no checkpoints and logs nothing."""
        teachers = [restore(each) for each in self.teachers]
        taught = Ensemble(teachers, **self.together) if self.together else next(iter(teachers), None)
        return Job(
            name=self.name,
            network=restore(self.network),
            spec=self.network.spec,
            stage=self.stage,
            data=data,
            seed=self.seed,
            teacher=taught,
            teacher_specs=tuple(each.spec for each in self.teachers),
            folder=self.folder,
            log=lambda entry: None,
            needs=self.needs,
        )


def labels_digest(data: DataSet) -> str:
    """Return the SHA-256 of the training samples' labels."""
    return sha256(data.train.labels.numpy().tobytes())


@dataclass(frozen=True)
class Trial:
    """Untrained networks of a run that has not begun, for what can be tried before any time is spent.

    Attributes:
        network: makes the network that the first stage starts from.
        student, teacher: in evaluation mode.
        samples: how many there are to train on.
    """

    network: Callable[[], nn.Module]
    student: nn.Module
    teacher: nn.Module
    inputs: Shape | Signature
    samples: int
    task: Task
    needs: Any = None


@dataclass(frozen=True)
class Result:
    """What a stage gives: a network, how to build it, and the stage's metrics as JSON."""

    network: nn.Module
    spec: Spec
    metrics: JsonObject
