"""What a training loop minimises."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.errors import TrainingError
from edgekd.ranges import SHARE_OR_NONE


@dataclass(frozen=True)
class Batch:
    """Training samples as a network takes them.

    Attributes:
        inputs: (N, \\*shape).
        labels: (N,), below 0 where a sample has none.
        indices: (N,), the samples' places in the training set, where an objective needs to know them.
        progress: the share of the training that is done, in [0, 1).
        view: the fixed view that the inputs are of, where the training goes by those.
    """

    inputs: Tensor
    labels: Tensor
    indices: Tensor | None = None
    progress: float = 0.0
    view: int | None = None


class Objective(nn.Module):
    """Subclasses give the :meth:`terms` whose sum is the loss; a teacher inside moves with ``.to(device)``."""

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """What ``network`` loses on ``batch``, by name, each with its weight."""
        raise NotImplementedError

    def forward(self, network: nn.Module, batch: Batch) -> Tensor:
        return total(self.terms(network, batch))

    def figures(self, progress: float) -> dict[str, float]:
        """What of the objective itself is worth telling where the share ``progress`` of the training is done."""
        return {}

    def learned(self) -> nn.Module | None:
        """What is trained along with the network and dropped after, and what a checkpoint must keep of the objective.

        None where there is nothing.
        """
        return None


class CrossEntropy(Objective):
    """The loss against labels alone; ``label_smoothing`` in [0, 1)."""

    def __init__(self, label_smoothing: float = 0.0):
        super().__init__()
        SHARE_OR_NONE.check(TrainingError, label_smoothing=label_smoothing)
        self.label_smoothing = label_smoothing

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"labels": of_labels(network(batch.inputs), batch.labels, self.label_smoothing)}


def total(terms: dict[str, Tensor]) -> Tensor:
    first, *rest = terms.values()
    for each in rest:
        first = first + each
    return first


def of_labels(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy, the mean over the samples that have a label; 0 where none has.

    Args:
        logits: (N, classes).
        labels: (N,), below 0 where a sample has none.
        label_smoothing: in [0, 1).
    """
    known = labels >= 0
    if not known.all():
        if not known.any():
            return 0 * logits.sum()
        logits, labels = logits[known], labels[known]
    return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
