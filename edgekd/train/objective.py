"""Objectives: what a training loop minimises."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from edgekd.errors import TrainingError
from edgekd.ranges import SHARE_OR_NONE
from edgekd.tasks.classification import Classification
from edgekd.tasks.signature import call
from edgekd.tasks.task import Task
from edgekd.tasks.tensors import Inputs


@dataclass(frozen=True)
class Batch:
    """Training samples as a network takes them.

    Attributes:
        inputs: (N, \\*shape); of a network with several inputs, such tensors in their order or by name.
        labels: (N, ...), as data sets of the task store them; of classes below 0 where a sample has none.
        indices: (N,), positions of the samples in the training set, for objectives that need them; :func:`fit` leaves
            them on the CPU.
        progress: the share of the training that is done, in [0, 1).
        view: the number of the fixed view that the inputs are, if the training uses fixed views.
    """

    inputs: Inputs
    labels: Tensor
    indices: Tensor | None = None
    progress: float = 0.0
    view: int | None = None


class Objective(nn.Module):
    """A loss, the sum of named :meth:`terms` that subclasses compute; a teacher inside moves with ``.to(device)``."""

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Compute the terms of the loss of ``network`` on ``batch`` by name, each multiplied by its weight."""
        raise NotImplementedError

    def forward(self, network: nn.Module, batch: Batch) -> Tensor:
        return total(self.terms(network, batch))

    def metrics(self, progress: float) -> dict[str, float]:
        """Return values of the objective itself for the history, at the share ``progress`` of the training."""
        return {}

    def learned(self) -> nn.Module | None:
        """Return a module that is trained along with the network and kept in checkpoints alone, or None."""
        return None


class TaskLoss(Objective):
    """The loss of ``task`` against targets alone; ``label_smoothing`` in [0, 1)."""

    def __init__(self, task: Task, label_smoothing: float = 0.0):
        super().__init__()
        SHARE_OR_NONE.check(TrainingError, label_smoothing=label_smoothing)
        self.task, self.label_smoothing = task, label_smoothing

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return task_terms(self.task, call(network, batch.inputs), batch, self.label_smoothing)


class CrossEntropy(TaskLoss):
    """Cross-entropy with classes alone, for a training loop of your own.

    Args:
        label_smoothing: share of each label spread over all classes, in [0, 1).

    Raises:
        TrainingError: ``label_smoothing`` is out of range.
    """

    def __init__(self, label_smoothing: float = 0.0):
        super().__init__(Classification(()), label_smoothing)


class Phased(Objective):
    """The objective ``first`` until the share ``until`` of the steps is done, then the objective ``then``.

    With :class:`TaskLoss` and a distillation it is training that the teacher joins later.
    """

    def __init__(self, first: Objective, then: Objective, until: float):
        super().__init__()
        self.first, self.then, self.until = first, then, until

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return self._at(batch.progress).terms(network, batch)

    def metrics(self, progress: float) -> dict[str, float]:
        return self._at(progress).metrics(progress)

    def learned(self) -> nn.Module | None:
        learned = [each.learned() for each in (self.first, self.then)]
        modules = [each for each in learned if each is not None]
        return nn.ModuleList(modules) if modules else None

    def _at(self, progress: float) -> Objective:
        return self.first if progress < self.until else self.then


def task_terms(
    task: Task, outputs: Mapping[str, Tensor], batch: Batch, label_smoothing: float = 0.0
) -> dict[str, Tensor]:
    """Compute the terms of the loss of ``task`` on a network's outputs by name.

    Raises:
        TrainingError: the network does not give the output that the task takes.
    """
    try:
        return task.loss(outputs, task.targets(batch.labels), label_smoothing)
    except KeyError as error:
        raise TrainingError(
            f"{task.name} takes an output {error}, and the network gives {', '.join(outputs)}: return it by that name, "
            "or alone"
        ) from error


def total(terms: dict[str, Tensor]) -> Tensor:
    """Sum ``terms``, one or more, in their order."""
    first, *rest = terms.values()
    for each in rest:
        first = first + each
    return first
