"""The loss of a student that learns from a teacher and from labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from edgekd.distill.balance import GradientBalance
from edgekd.distill.feature_hooks import FeatureHooks
from edgekd.distill.registry import FeatureLoss, LogitLoss, OutputLoss
from edgekd.distill.schedule import Schedule, value_at
from edgekd.errors import TrainingError
from edgekd.nearest import nearest
from edgekd.precision import full
from edgekd.ranges import NOT_NEGATIVE, POSITIVE, SHARE_OR_NONE, Range
from edgekd.tasks.classification import Classification
from edgekd.tasks.signature import LOGITS, Signature, call
from edgekd.tasks.task import Task
from edgekd.tasks.tensors import Inputs
from edgekd.train import Batch, Objective
from edgekd.train.device import moved
from edgekd.train.objective import task_terms

if TYPE_CHECKING:
    from edgekd.distill.cache import TeacherCache


@dataclass(frozen=True)
class Term:
    """A weighted loss.

    Attributes:
        pairs: the paths of (student, teacher) layers that a loss of features compares.
        output: the name of the output that a loss of logits compares; an :class:`OutputLoss` compares all, unless
            another than ``logits`` is named.
    """

    name: str
    loss: LogitLoss | FeatureLoss
    weight: float | Schedule = 1.0
    pairs: Sequence[tuple[str, str]] = field(default=())
    output: str = LOGITS

    def __post_init__(self) -> None:
        for each in (self.weight.start, self.weight.end) if isinstance(self.weight, Schedule) else (self.weight,):
            NOT_NEGATIVE.check(TrainingError, weight=each)


class Distillation(Objective):
    """``hard_weight`` · the task's loss + (1 − ``hard_weight``) · Σ weight · loss.

    Args:
        teacher: a network, run in evaluation mode and without gradients; or its outputs on fixed views, cached before.
        losses: one, such as :class:`edgekd.distill.KD`, or several with their weights.
        hard_weight: weight of the labels, in [0, 1].
        label_smoothing: smoothing of the hard labels, in [0, 1).
        temperature: a schedule for every loss that has a temperature; one of them has.
        task: whose loss against targets it is; that of classes if left out.
        balance: scale the gradients of all losses to the norm of the first one's, before their weights.
        signature: what both networks take and give, where that has other names than :func:`output_tensors` finds.
    """

    def __init__(
        self,
        teacher: "nn.Module | TeacherCache",
        losses: LogitLoss | Sequence[Term],
        hard_weight: float | Schedule = 0.1,
        label_smoothing: float = 0.0,
        *,
        temperature: Schedule | None = None,
        balance: bool = False,
        task: Task | None = None,
        signature: Signature | None = None,
    ):
        super().__init__()
        for end in (hard_weight.start, hard_weight.end) if isinstance(hard_weight, Schedule) else (hard_weight,):
            Range(0, 1).check(TrainingError, hard_weight=end)
        SHARE_OR_NONE.check(TrainingError, label_smoothing=label_smoothing)
        if temperature is not None:
            POSITIVE.check(TrainingError, temperature=min(temperature.start, temperature.end))
        self.teacher = teacher.eval().requires_grad_(False) if isinstance(teacher, nn.Module) else teacher
        self.losses = [Term("teacher", losses)] if isinstance(losses, LogitLoss) else list(losses)
        self.modules_of_losses = nn.ModuleList([term.loss for term in self.losses])
        self.hard_weight, self.label_smoothing, self.temperature = hard_weight, label_smoothing, temperature
        self.task, self.signature = task or Classification(()), signature
        if temperature is not None:
            must_have_temperature(self.losses)
        self.balance = GradientBalance(len(self.losses)) if balance and len(self.losses) > 1 else None

    def train(self, mode: bool = True) -> "Distillation":
        """Switch the losses' own layers; the teacher stays in evaluation mode."""
        super().train(mode)
        if isinstance(self.teacher, nn.Module):
            self.teacher.eval()
        return self

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        if self.temperature is not None:
            self._set_temperature(self.temperature(batch.progress))
        outputs, values = self._compare(network, batch)
        factors = self.balance(values, list(network.parameters())) if self.balance is not None else [1.0] * len(values)
        hard = value_at(self.hard_weight, batch.progress)
        found = self._hard(outputs, batch, hard) if hard else {}
        if hard < 1:
            for term, value, factor in zip(self.losses, values, factors, strict=True):
                found[term.name] = (1 - hard) * (factor * value_at(term.weight, batch.progress)) * value
        return found

    def _hard(self, outputs: Mapping[str, Tensor], batch: Batch, weight: float) -> dict[str, Tensor]:
        exact = {name: full(each) if each.is_floating_point() else each for name, each in outputs.items()}
        terms = task_terms(self.task, exact, batch, self.label_smoothing)
        return {name: weight * value for name, value in terms.items()}

    def metrics(self, progress: float) -> dict[str, float]:
        """Return the ``temperature`` of the first loss that has one."""
        fixed = [each.temperature for each in self._with_temperature()]
        return {"temperature": value_at(self.temperature or fixed[0], progress)} if fixed else {}

    def learned(self) -> nn.Module | None:
        parts = [*self.modules_of_losses, *([self.balance] if self.balance is not None else [])]
        kept = [part for part in parts if any(True for _ in (*part.parameters(), *part.buffers()))]
        return nn.ModuleList(kept) if kept else None

    def _compare(self, network: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Return the student's outputs, and the value of each loss."""
        student_paths, teacher_paths = ([pair[side] for term in self.losses for pair in term.pairs] for side in (0, 1))
        targets, taught = self._teach(teacher_paths, batch)
        outputs, features = self._run(network, student_paths, batch.inputs)
        values = []
        for term in self.losses:
            if isinstance(term.loss, FeatureLoss):
                student = [features[path] for path, _ in term.pairs]
                teacher = [taught[path] for _, path in term.pairs]
                values.append(term.loss(student, teacher, batch.indices))
            elif isinstance(term.loss, OutputLoss) and term.loss.compares_all and term.output == LOGITS:
                values.append(term.loss.compare(outputs, targets, batch.labels))
            else:
                ours, theirs = (_output(side, term) for side in (outputs, targets))
                values.append(term.loss(ours, theirs, batch.labels))
        return outputs, values

    def _teach(self, paths: Sequence[str], batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        if isinstance(self.teacher, nn.Module):
            with torch.no_grad():
                return self._run(self.teacher, paths, batch.inputs)
        if batch.indices is None or batch.view is None:
            raise TrainingError(
                "the teacher's outputs are of fixed views of known samples: train with fit(..., views=cache.views), or "
                "give the teacher itself"
            )
        where, device = (batch.view, batch.indices.cpu()), batch.labels.device
        taught = {path: moved(self.teacher.features(path, *where), device) for path in dict.fromkeys(paths)}
        outputs = {name: moved(each, device) for name, each in self.teacher.outputs(*where).items()}
        return outputs, taught

    def _run(
        self, network: nn.Module, paths: Sequence[str], inputs: Inputs
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        if not paths:
            return call(network, inputs, self.signature), {}
        with FeatureHooks(network, list(dict.fromkeys(paths))) as hooks:
            outputs = call(network, inputs, self.signature)
        return outputs, hooks.read()

    def _set_temperature(self, value: float) -> None:
        for each in self._with_temperature():
            each.temperature = value

    def _with_temperature(self) -> list[Any]:
        return _softened(self.losses)


def must_have_temperature(losses: Sequence[Term]) -> None:
    """Refuse losses of which none has a temperature that a schedule could change.

    Raises:
        TrainingError: with their names.
    """
    if not _softened(losses):
        names = ", ".join(term.name for term in losses)
        raise TrainingError(
            f"no loss has a temperature that a schedule could change: leave it out, or add kd to {names}"
        )


def _softened(losses: Sequence[Term]) -> list[Any]:
    modules = (module for term in losses for module in term.loss.modules())
    return [each for each in modules if isinstance(each, (LogitLoss, FeatureLoss)) and hasattr(each, "temperature")]


def _output(outputs: Mapping[str, Tensor], term: Term) -> Tensor:
    if term.output not in outputs:
        raise TrainingError(
            f"the loss {term.name!r} compares the output {term.output!r}, and the network gives {', '.join(outputs)}"
            f"{nearest(term.output, outputs)}: name one of these (output), or give the signature"
        )
    return outputs[term.output]
