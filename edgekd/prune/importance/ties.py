"""Which channels of a dependency group can only go together, because of convolutions in groups and of GroupNorm."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch_pruning as tp
from torch import Tensor, nn
from torch_pruning.ops import OPTYPE

from edgekd.prune.grouped import loses_groups
from edgekd.prune.importance.members import MIXES, reads
from edgekd.prune.operations import KINDS

SPLITS = (OPTYPE.SPLIT, OPTYPE.SLICE, OPTYPE.UNBIND)


@dataclass(frozen=True)
class Ties:
    """The channels of a group fall into ``parts`` that are cut alike, and in each part ``chunk`` neighbours go at once.

    Attributes:
        width: channels of the group's root.
        parts: above 1 where a convolution in groups keeps them all, and loses the same places in each.
        chunk: above 1 where a convolution loses whole groups.
        kernels: into how many groups the convolutions among ``parts`` divide the channels. Runtimes are fast at certain
            widths of those.
    """

    width: int
    parts: int = 1
    chunk: int = 1
    kernels: int = 1

    @property
    def repeats(self) -> int:
        """How many channels go or stay together."""
        return self.parts * self.chunk

    @property
    def scores(self) -> int:
        """How many times a choice can be made."""
        return self.width // self.repeats

    def mean(self, values: Tensor) -> Tensor:
        """(scores,) means of ``values`` (width,) over the channels that go together."""
        return values.view(self.parts, self.scores, self.chunk).mean((0, 2))

    def spread(self, scores: Tensor) -> Tensor:
        """(width,): to each channel its own of ``scores`` (scores,)."""
        return scores.repeat_interleave(self.chunk).repeat(self.parts)

    def channels(self, scores: Iterable[int]) -> list[int]:
        """Indices of the channels that go together as each of ``scores``."""
        starts = [part * self.scores + score for part in range(self.parts) for score in scores]
        return [start * self.chunk + place for start in starts for place in range(self.chunk)]

    def score_of(self, channel: int) -> int:
        """Which of ``scores`` the ``channel``-th shares."""
        return channel // self.chunk % self.scores

    def step(self, round_to: int) -> int:
        """Of how many scores multiples must stay, for widths that are multiples of ``round_to``.

        Inside of a convolution's groups, where their width is such a multiple; otherwise in all.
        """
        inside = self.width // self.kernels % round_to == 0
        return round_to // math.gcd(round_to, self.repeats // (self.kernels if inside else 1))


def ties(group: tp.Group) -> Ties:
    """The ties between the channels of ``group``: those of its layers, and those of its operations."""
    tied = _ties_of_layers(group)
    coupled = _coupled(group)
    return tied if not coupled else _coarser(tied, coupled)


def _ties_of_layers(group: tp.Group) -> Ties:
    """The ties between the channels of ``group``.

    All in one, so that none can go, where a layer in groups has others beside them: a concatenation feeds it, and what
    is cut from one of its groups cannot be cut from the rest.
    """
    width = len(group[0].idxs)
    together, layers = Ties(width, parts=width), list(_layers(group))
    whole = [layer for layer in layers if layer.loses_groups]
    if not all(layer.is_whole for layer in whole) or _differ(whole):
        return together
    chunk = math.lcm(*(layer.channels_per_group for layer in whole))
    if not all(layer.is_whole_in(chunk) for layer in whole):
        return together
    alike = [layer for layer in layers if not layer.loses_groups and not (layer.is_norm and layer.is_whole_in(chunk))]
    parts = math.lcm(*(layer.count for layer in alike))
    if not all(layer.is_even for layer in alike) or width % (parts * chunk):
        return together
    return Ties(width, parts, chunk, math.lcm(*(layer.count for layer in alike if not layer.is_norm)))


def branches(group: tp.Group, tied: Ties) -> tuple[frozenset[int], ...]:
    """The scores of each layer of ``group`` that does not have all of them."""
    found = {
        frozenset(map(tied.score_of, places.values()))
        for item, places in _places(group)
        if isinstance(item.dep.target.module, MIXES)
    }
    return tuple(branch for branch in found if 0 < len(branch) < tied.scores)


@dataclass(frozen=True)
class _Layer:
    """A layer in ``count`` groups of ``size``; ``places`` are the positions that its channels have in the root."""

    module: nn.Module
    loses_groups: bool
    width: int
    count: int
    size: int
    places: dict[int, int]

    @property
    def is_norm(self) -> bool:
        return isinstance(self.module, nn.GroupNorm)

    @cached_property
    def groups(self) -> dict[int, list[int]]:
        """Positions in the root, by the group of the layer."""
        found = defaultdict(list)
        for index, place in self.places.items():
            found[index // self.size].append(place)
        return found

    @property
    def channels_per_group(self) -> int:
        return self.width // len(self.groups)

    @property
    def is_whole(self) -> bool:
        """Whether each of its groups is in the dependency group with all channels or with none."""
        found = self.groups
        return bool(found) and self.width % len(found) == 0 and all(len(each) == self.size for each in found.values())

    def is_whole_in(self, chunk: int) -> bool:
        """Whether none of its groups is in two chunks of the root."""
        return (
            self.is_whole
            and chunk % self.channels_per_group == 0
            and all(min(places) // chunk == max(places) // chunk for places in self.groups.values())
        )

    @property
    def is_even(self) -> bool:
        """Whether its groups are equal parts of the dependency group, in order."""
        channels = self.count * self.size
        return len(self.places) == channels and all(
            index * self.count // channels == place * self.count // self.width for index, place in self.places.items()
        )


def _coupled(group: tp.Group) -> set[frozenset[int]]:
    """Positions in the root that can only go together, as the halves of channels that are multiplied; none if alone."""
    if not any(
        item.dep.target.type in SPLITS or type(item.dep.target.grad_fn).__name__ in KINDS for item in group.items
    ):
        return set()
    root, indices = group[0].dep, list(group[0].idxs)
    positions = {index: position for position, index in enumerate(indices)}

    def closure(chosen: Iterable[int]) -> frozenset[int]:
        found = group._DG.get_pruning_group(root.target.module, root.handler, [indices[each] for each in chosen])
        return frozenset(positions[index] for index in found[0].idxs)

    width = len(indices)
    # Channels are alone where, for each bit of their numbers, those that have it draw in none that does not.
    halves = [[each for each in range(width) if each >> bit & 1] for bit in range(width.bit_length())]
    if all(closure(half) == frozenset(half) for half in halves if half):
        return set()
    left, found = set(range(width)), set()
    while left:
        found.add(together := closure([min(left)]))
        left -= together
    return found


def _coarser(tied: Ties, coupled: set[frozenset[int]]) -> Ties:
    """``tied`` where that leaves ``coupled`` channels together, or else as these lie; all in one where neither does."""
    size = len(next(iter(coupled)))
    parts = Ties(tied.width, parts=size, kernels=size)
    for each in (tied, parts, Ties(tied.width, chunk=size)) if tied.repeats == 1 else (tied,):
        classes = (
            [set(each.channels([score])) for score in range(each.scores)] if each.width % each.repeats == 0 else []
        )
        if classes and all(any(together <= own for own in classes) for together in coupled):
            return each
    return Ties(tied.width, parts=tied.width)


def _layers(group: tp.Group) -> Iterator[_Layer]:
    for item, places in _places(group):
        node = item.dep.target
        count, channels = _in_groups(node.module, reads(item))
        if count > 1:
            yield _Layer(node.module, loses_groups(node), len(group[0].idxs), count, channels // count, places)


def _places(group: tp.Group) -> Iterator[tuple[Any, dict[int, int]]]:
    """Each item with the positions that its channels have in the root; what lies behind an expand has lost its root."""
    positions = {index: position for position, index in enumerate(group[0].idxs)}
    for item in group.items:
        roots = zip(item.idxs, item.root_idxs, strict=True)
        yield item, {index: positions[root] for index, root in roots if root is not None}


def _in_groups(layer: nn.Module, by_inputs: bool) -> tuple[int, int]:
    if isinstance(layer, nn.GroupNorm):
        return layer.num_groups, layer.num_channels
    if isinstance(layer, nn.modules.conv._ConvNd) and layer.groups != layer.out_channels:
        return layer.groups, layer.in_channels if by_inputs else layer.out_channels
    return 1, 0


def _differ(layers: Iterable[_Layer]) -> bool:
    """Whether the two sides of a layer are there with different groups."""
    groups: dict[nn.Module, set[int]] = {}
    return any(groups.setdefault(layer.module, set(layer.groups)) != set(layer.groups) for layer in layers)
