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


def accuracy_of(network: nn.Module, data: DataSet, samples: Samples) -> float:
    """Share of ``samples`` whose largest logit is the label, in [0, 1]; NaN where logits are not finite."""
    right = 0
    for start in range(0, len(samples), CHUNK):
        chunk = samples.select(torch.arange(start, min(start + CHUNK, len(samples))))
        logits = logits_of(network, data, chunk)
        if not logits.isfinite().all():
            return math.nan
        right += int((logits.argmax(1) == chunk.labels).sum())
    return right / len(samples)


def shared_accuracy_of(network: nn.Module, data: DataSet, samples: Samples) -> float:
    """:func:`accuracy_of` in all processes at once, each of which looks at its share."""
    if world.size() == 1:
        return accuracy_of(network, data, samples)
    own = torch.arange(len(samples))[world.rank() :: world.size()]
    right = len(own) * accuracy_of(network, data, samples.select(own)) if len(own) else 0.0
    total = world.size() * world.mean(torch.tensor(right, dtype=torch.float64))
    return float(total.round() / len(samples))
