"""Operations that change the number of channels, and that torch-pruning takes for ones that keep it.

Each maps a channel that goes in to those that come out, and back. All other operations are left to torch-pruning.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch_pruning as tp
from torch import nn
from torch_pruning._helpers import GroupItem
from torch_pruning.dependency import Node
from torch_pruning.ops import OPTYPE, DummyPruner

Indices = Callable[[int], Iterable[int]]


@dataclass(eq=False)
class Resize:
    """An operation that changes the number of channels.

    Attributes:
        width: the number of channels that come out.
        inputs: the number of channels that go in, as a function of ``width``.
        forth: maps a channel that goes in to the channels that come out.
        back: maps a channel that comes out to the channels that go in.
    """

    node: Node
    width: int
    inputs: Callable[[int], int]
    forth: Indices
    back: Indices


class ResizePruner(DummyPruner):  # type: ignore[misc]
    """Keeps the widths of :class:`Resize` operations up to date."""

    def __init__(self) -> None:
        self.known: dict[nn.Module, Resize] = {}

    def prune_out_channels(self, layer: nn.Module, idxs: Sequence[int]) -> nn.Module:
        self.known[layer].width -= len(idxs)
        return layer

    prune_in_channels = prune_out_channels

    def get_out_channels(self, layer: nn.Module) -> int:
        return self.known[layer].width

    def get_in_channels(self, layer: nn.Module) -> int:
        resize = self.known[layer]
        return resize.inputs(resize.width)


class DistinctGroup(tp.Group):  # type: ignore[misc]
    """A dependency group that cuts each channel of a layer once.

    Several channels before a pixel shuffle become one, and torch-pruning would count this as often (1.6.1): the layer
    behind then has a wrong number of inputs, and the next cut takes the wrong ones.
    """

    _group: list[Any]

    @classmethod
    def of(cls, group: tp.Group) -> "DistinctGroup":
        found = cls()
        found._group, found._DG = group._group, group._DG
        return found

    def prune(self, idxs: Sequence[int] | None = None, record_history: bool = True) -> None:
        items = self._group
        self._group = [GroupItem(item.dep, list(dict.fromkeys(item.idxs))) for item in items]
        super().prune(idxs, record_history)
        self._group = items


class Mapping:
    """An index mapping of torch-pruning."""

    def __init__(self, mapped: Indices):
        self.mapped = mapped

    def __call__(self, indices: Sequence[Any]) -> Sequence[Any]:
        found = (each._replace(idx=index) for each in indices for index in self.mapped(each.idx))
        return list(dict.fromkeys(found))


def resize_of(node: Node) -> Resize | None:
    """Return how ``node`` changes the channels, or None if it keeps them or is not one of ``KINDS``."""
    operation = type(node.grad_fn).__name__
    if node.type != OPTYPE.ELEMENTWISE or operation not in KINDS:
        return None
    shape = node.grad_fn._input_metadata[0].shape
    return KINDS[operation](node, shape) if len(shape) > 1 else None


def map_channels(resize: Resize) -> None:
    """Set the index mapping into the operation, where torch-pruning keeps that of concatenations."""
    node = resize.node
    for source in node.inputs:
        for dependency in node.dependencies:
            if dependency.target is source:
                dependency.index_mapping[1] = Mapping(resize.back)
        for dependency in source.dependencies:
            if dependency.target is node:
                dependency.index_mapping[1] = Mapping(resize.forth)


def _glu(node: Node, shape: Sequence[int]) -> Resize | None:
    if node.grad_fn._saved_dim not in (1, 1 - len(shape), 2**64 + 1 - len(shape)):
        return None
    found = Resize(
        node, shape[1], lambda width: 2 * width, lambda i: (i % found.width,), lambda i: (i, i + found.width)
    )
    return found


def _shuffle(node: Node, shape: Sequence[int]) -> Resize:
    block = node.grad_fn._saved_upscale_factor**2
    return Resize(
        node,
        shape[-3],
        lambda width: width * block,
        lambda i: (i // block,),
        lambda i: range(i * block, (i + 1) * block),
    )


def _unshuffle(node: Node, shape: Sequence[int]) -> Resize:
    block = node.grad_fn._saved_downscale_factor**2
    return Resize(
        node,
        shape[-3],
        lambda width: width // block,
        lambda i: range(i * block, (i + 1) * block),
        lambda i: (i // block,),
    )


KINDS: dict[str, Callable[[Node, Sequence[int]], Resize | None]] = {
    "GluBackward0": _glu,
    "PixelShuffleBackward0": _shuffle,
    "PixelUnshuffleBackward0": _unshuffle,
}
