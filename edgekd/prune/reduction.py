"""Reductions from one score per layer and channel of a group to one score per channel.

Functions import PyTorch when they are called: recipes are read without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgekd.errors import ModelError
from edgekd.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

Reduction = Callable[["Tensor", "Tensor"], "Tensor"]
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
    import torch

    return torch.where(scored, scores, 1.0).prod(0)
