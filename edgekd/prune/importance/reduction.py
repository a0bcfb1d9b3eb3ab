"""From one score per layer and channel of a group to one score per channel."""

from collections.abc import Callable

import torch
from torch import Tensor

from edgekd.errors import ModelError
from edgekd.registry import Registry

Reduction = Callable[[Tensor, Tensor], Tensor]
REDUCTIONS: Registry[Reduction] = Registry("reduction", ModelError)


@REDUCTIONS.register("mean")
def mean(scores: Tensor, has: Tensor) -> Tensor:
    """Each channel's mean over the layers that have it.

    Args:
        scores: (layers, channels), 0 where the layer does not have the channel.
        has: (layers, channels) bool, at least one layer true for each channel.
    """
    return scores.sum(0) / has.sum(0)


@REDUCTIONS.register("sum")
def total(scores: Tensor, has: Tensor) -> Tensor:
    return scores.sum(0)


@REDUCTIONS.register("max")
def largest(scores: Tensor, has: Tensor) -> Tensor:
    return scores.amax(0)


@REDUCTIONS.register("first")
def first(scores: Tensor, has: Tensor) -> Tensor:
    """The score in the first layer that has the channel: the root, if the importance scores its kind of layer."""
    return (scores * (has & (has.cumsum(0) == 1))).sum(0)


@REDUCTIONS.register("product")
def product(scores: Tensor, has: Tensor) -> Tensor:
    return torch.where(has, scores, 1.0).prod(0)
