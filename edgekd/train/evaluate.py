"""Logits and predictions of a network, sample by sample, and the metrics of a validation."""

import math

import torch
from torch import Tensor, nn

from edgekd.data import DataSet, Samples, in_order
from edgekd.train import distributed
from edgekd.train.device import channels_last

# A hundred thousand validation samples of a thousand classes need not have all their logits in memory at once.
CHUNK = 16_384


@torch.inference_mode()
def logits_of(network: nn.Module, data: DataSet, samples: Samples, batch_size: int | None = None) -> Tensor:
    """Return logits (N, classes) in float32 on the CPU, in the order of ``samples``.

    The network is in evaluation mode already.
    """
    device = next(network.parameters()).device
    parts = []
    for raw, _ in in_order(samples, batch_size or data.batch_size):
        parts.append(network(channels_last(data.to_input(raw).to(device))).float().cpu())
    return torch.cat(parts)


def predictions_of(network: nn.Module, data: DataSet, samples: Samples) -> Tensor:
    """Return the classes (N,) of the largest logits, in the order of ``samples``; −1 where logits are not finite."""
    parts = []
    for chunk in torch.arange(len(samples)).split(CHUNK):
        logits = logits_of(network, data, samples.select(chunk))
        parts.append(torch.where(logits.isfinite().all(1), logits.argmax(1), -1))
    return torch.cat(parts)


def distributed_predictions_of(network: nn.Module, data: DataSet, samples: Samples) -> Tensor:
    """Return :func:`predictions_of` all ``samples`` on all ranks, each of which predicts its shard of them."""
    ranks = distributed.world_size()
    if ranks == 1:
        return predictions_of(network, data, samples)
    # All shards are equally long: the last sample fills them up.
    padded = torch.arange(-(-len(samples) // ranks) * ranks).clamp(max=len(samples) - 1)
    own = predictions_of(network, data, samples.select(distributed.shard(padded)))
    return distributed.all_gather(own)[: len(samples)]


def accuracy_of(network: nn.Module, data: DataSet, samples: Samples) -> float:
    """Return the share of ``samples`` whose largest logit is the label's, in [0, 1]; NaN if logits are not finite."""
    return _accuracy(predictions_of(network, data, samples), samples)


def validation_metrics(
    predictions: Tensor, samples: Samples, teacher_predictions: Tensor | None = None
) -> dict[str, float]:
    """Compute ``validation_accuracy``, and with a teacher ``teacher_validation_accuracy`` and ``agreement``.

    Args:
        predictions, teacher_predictions: (N,), from :func:`predictions_of` on the validation ``samples``.

    Returns:
        Shares of the samples, in [0, 1]; ``agreement`` is that of equal predictions.
    """
    own = {"validation_accuracy": _accuracy(predictions, samples)}
    if teacher_predictions is None:
        return own
    return {
        **own,
        "teacher_validation_accuracy": _accuracy(teacher_predictions, samples),
        "agreement": _share_equal(predictions, teacher_predictions),
    }


def _accuracy(predictions: Tensor, samples: Samples) -> float:
    return math.nan if (predictions < 0).any() else _share_equal(predictions, samples.labels)


def _share_equal(first: Tensor, second: Tensor) -> float:
    return int((first == second).sum()) / len(first)
