"""What a network answers, sample by sample."""

import math

import torch
from torch import Tensor, nn

from edgekd.data import DataSet, Samples, in_order
from edgekd.train import world
from edgekd.train.device import channels_last

# A hundred thousand validation samples of a thousand classes need not have all their logits in memory at once.
CHUNK = 16_384


@torch.inference_mode()
def logits_of(network: nn.Module, data: DataSet, samples: Samples, batch_size: int | None = None) -> Tensor:
    """Logits (N, classes) in float32 on the CPU, in the order of ``samples``; the network is in evaluation mode."""
    device = next(network.parameters()).device
    parts = []
    for raw, _ in in_order(samples, batch_size or data.batch_size):
        parts.append(network(channels_last(data.to_input(raw).to(device))).float().cpu())
    return torch.cat(parts)


def answers_of(network: nn.Module, data: DataSet, samples: Samples) -> Tensor:
    """The classes (N,) of the largest logits, in the order of ``samples``; −1 where a sample's are not all finite."""
    parts = []
    for chunk in torch.arange(len(samples)).split(CHUNK):
        logits = logits_of(network, data, samples.select(chunk))
        parts.append(torch.where(logits.isfinite().all(1), logits.argmax(1), -1))
    return torch.cat(parts)


def shared_answers_of(network: nn.Module, data: DataSet, samples: Samples) -> Tensor:
    """:func:`answers_of` in all processes at once, each of which looks at its share; all have all answers."""
    if world.size() == 1:
        return answers_of(network, data, samples)
    # All shares are equally long: the last sample fills them up.
    padded = torch.arange(-(-len(samples) // world.size()) * world.size()).clamp(max=len(samples) - 1)
    own = answers_of(network, data, samples.select(world.share(padded)))
    return world.gathered(own)[: len(samples)]


def accuracy_of(network: nn.Module, data: DataSet, samples: Samples) -> float:
    """Share of ``samples`` whose largest logit is the label, in [0, 1]; NaN where logits are not finite."""
    return _accuracy(answers_of(network, data, samples), samples)


def judge(answers: Tensor, samples: Samples, teacher_answers: Tensor | None = None) -> dict[str, float]:
    """``validation_accuracy``; with a teacher its own, ``teacher_validation_accuracy``, and the ``agreement`` of both.

    Args:
        answers, teacher_answers: (N,), of :func:`answers_of` the validation ``samples``.

    Returns:
        Shares of the samples, in [0, 1]: of right answers, and of equal ones.
    """
    own = {"validation_accuracy": _accuracy(answers, samples)}
    if teacher_answers is None:
        return own
    agreement = _share_equal(answers, teacher_answers)
    return {**own, "teacher_validation_accuracy": _accuracy(teacher_answers, samples), "agreement": agreement}


def _accuracy(answers: Tensor, samples: Samples) -> float:
    return math.nan if (answers < 0).any() else _share_equal(answers, samples.labels)


def _share_equal(first: Tensor, second: Tensor) -> float:
    return int((first == second).sum()) / len(first)
