"""Reductions from one score per layer and channel of a group to one score per channel."""

from collections.abc import Callable

import torch
from torch import Tensor

from edgekd.errors import ModelError
from edgekd.registry import Registry

Reduction = Callable[[Tensor, Tensor], Tensor]
REDUCTIONS: Registry[Reduction] = Registry("reduction", ModelError)


@REDUCTIONS.register("mean")
def mean(scores: Tensor, scored: Tensor) -> Tensor:
    """Average each channel's scores over the layers that score it.

    Args:
        scores: (layers, channels), 0 where the layer does not score the channel.
        scored: (layers, channels) bool, at least one layer true for each channel.
    """
    return scores.sum(0) / scored.sum(0)


@REDUCTIONS.register("sum")
def total(scores: Tensor, scored: Tensor) -> Tensor:
    return scores.sum(0)


@REDUCTIONS.register("max")
def largest(scores: Tensor, scored: Tensor) -> Tensor:
    return scores.amax(0)


@REDUCTIONS.register("first")
def first(scores: Tensor, scored: Tensor) -> Tensor:
    """Take the score in the first layer that has one: the root, if the importance scores its kind of layer."""
    return (scores * (scored & (scored.cumsum(0) == 1))).sum(0)


@REDUCTIONS.register("product")
def product(scores: Tensor, scored: Tensor) -> Tensor:
    return torch.where(scored, scores, 1.0).prod(0)
