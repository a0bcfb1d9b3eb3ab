"""Coupled channels: those of a dependency group that grouped layers and equal chunks let go only together."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch_pruning as tp
from torch import Tensor, nn
from torch_pruning.dependency import Node
from torch_pruning.ops import OPTYPE

from edgekd.prune.group_members import MIXING_LAYERS, reads
from edgekd.prune.grouped import loses_groups
from edgekd.prune.operations import KINDS

SPLITS = (OPTYPE.SPLIT, OPTYPE.SLICE, OPTYPE.UNBIND)


@dataclass(frozen=True)
class CoupledChannels:
    """The coupling between the channels of a dependency group.

    They fall into ``parts`` that are cut alike, and in each part ``chunk`` neighbours go at once. A set of coupled
    channels has one score.

    Attributes:
        width: channels of the group's root.
        parts: above 1 where a grouped convolution keeps all of its groups, and loses the same channels in each.
        chunk: above 1 where a grouped convolution loses whole groups.
        kernels: the number of groups into which convolutions, without norms, divide the channels. Runtimes are fast
            at certain widths of these.
        least: how many scores must stay, lest a norm is left with single values.
    """

    width: int
    parts: int = 1
    chunk: int = 1
    kernels: int = 1
    least: int = 1

    @property
    def repeats(self) -> int:
        """Return the number of channels that go or stay together."""
        return self.parts * self.chunk

    @property
    def scores(self) -> int:
        """Return the number of sets of coupled channels."""
        return self.width // self.repeats

    def mean(self, values: Tensor) -> Tensor:
        """Return the means (scores,) of ``values`` (width,) over coupled channels."""
        return values.view(self.parts, self.scores, self.chunk).mean((0, 2))

    def spread(self, scores: Tensor) -> Tensor:
        """Return for each channel (width,) its value of ``scores`` (scores,)."""
        return scores.repeat_interleave(self.chunk).repeat(self.parts)

    def channels(self, scores: Iterable[int]) -> list[int]:
        """Return the indices of the channels that share these ``scores``, given by their indices."""
        starts = [part * self.scores + score for part in range(self.parts) for score in scores]
        return [start * self.chunk + offset for start in starts for offset in range(self.chunk)]

    def score_of(self, channel: int) -> int:
        """Return the index of the score of ``channel``."""
        return channel // self.chunk % self.scores

    def step(self, round_to: int) -> int:
        """Return the number of scores whose multiples give widths that ``round_to`` divides.

        The widths are those within a convolution's groups where these are such a multiple now, otherwise all channels.
        """
        inside = self.width // self.kernels % round_to == 0
        return round_to // math.gcd(round_to, self.repeats // (self.kernels if inside else 1))


def coupled_channels(group: tp.Group) -> CoupledChannels:
    """Find which channels of ``group`` are coupled, by its layers and by operations such as splits."""
    by_layers = _coupled_by_layers(group)
    by_operations = _coupled_by_operations(group)
    found = by_layers if not by_operations else _coarser(by_layers, by_operations)
    return replace(found, least=_least(group, found))


def _coupled_by_layers(group: tp.Group) -> CoupledChannels:
    """Find the channels that grouped layers couple.

    All channels are coupled, so that none can go, where a grouped layer also has channels of other groups: behind a
    concatenation, where a cut in some of its groups cannot be made in the rest.
    """
    width = len(group[0].idxs)
    all_coupled, layers = CoupledChannels(width, parts=width), list(_layers(group))
    cut_by_groups = [layer for layer in layers if layer.loses_groups]
    if not all(layer.has_whole_groups for layer in cut_by_groups) or _differ(cut_by_groups):
        return all_coupled
    chunk = math.lcm(*(layer.channels_per_group for layer in cut_by_groups))
    if not all(layer.fits_chunks(chunk) for layer in cut_by_groups):
        return all_coupled
    alike = [layer for layer in layers if not layer.loses_groups and not (layer.is_norm and layer.fits_chunks(chunk))]
    parts = math.lcm(*(layer.count for layer in alike))
    if not all(layer.is_even for layer in alike) or width % (parts * chunk):
        return all_coupled
    return CoupledChannels(width, parts, chunk, math.lcm(*(layer.count for layer in alike if not layer.is_norm)))


def branches(group: tp.Group, coupling: CoupledChannels) -> tuple[frozenset[int], ...]:
    """Return for each layer of ``group`` that has only some of the scores, which ones it has."""
    found = {
        frozenset(map(coupling.score_of, positions.values()))
        for item, positions in _positions(group)
        if isinstance(item.dep.target.module, MIXING_LAYERS)
    }
    return tuple(branch for branch in found if 0 < len(branch) < coupling.scores)


@dataclass(frozen=True)
class _Layer:
    """A layer in ``count`` groups of ``size``; ``positions`` maps its channels to their positions in the root."""

    module: nn.Module
    loses_groups: bool
    width: int
    count: int
    size: int
    positions: dict[int, int]

    @property
    def is_norm(self) -> bool:
        return isinstance(self.module, nn.GroupNorm)

    @cached_property
    def groups(self) -> dict[int, list[int]]:
        """Return the positions in the root, by the group of the layer."""
        found = defaultdict(list)
        for index, position in self.positions.items():
            found[index // self.size].append(position)
        return found

    @property
    def channels_per_group(self) -> int:
        return self.width // len(self.groups)

    @property
    def has_whole_groups(self) -> bool:
        """Tell whether each of its groups is in the dependency group with all of its channels or with none."""
        found = self.groups
        return bool(found) and self.width % len(found) == 0 and all(len(each) == self.size for each in found.values())

    def fits_chunks(self, chunk: int) -> bool:
        """Tell whether each of its groups lies within one chunk of the root."""
        return (
            self.has_whole_groups
            and chunk % self.channels_per_group == 0
            and all(min(positions) // chunk == max(positions) // chunk for positions in self.groups.values())
        )

    @property
    def is_even(self) -> bool:
        """Tell whether its groups are equal parts of the dependency group, in order."""
        channels = self.count * self.size
        return len(self.positions) == channels and all(
            index * self.count // channels == position * self.count // self.width
            for index, position in self.positions.items()
        )


def _coupled_by_operations(group: tp.Group) -> set[frozenset[int]]:
    """Return sets of root positions that operations couple, as two halves that are multiplied; empty if none are."""
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
    # No channels are coupled if, for each bit of their numbers, those that have it pull in none that does not.
    halves = [[each for each in range(width) if each >> bit & 1] for bit in range(width.bit_length())]
    if all(closure(half) == frozenset(half) for half in halves if half):
        return set()
    left, found = set(range(width)), set()
    while left:
        found.add(together := closure([min(left)]))
        left -= together
    return found


def _coarser(by_layers: CoupledChannels, by_operations: set[frozenset[int]]) -> CoupledChannels:
    """Return a coupling that respects both; all channels are coupled where there is none of the known forms."""
    width, size = by_layers.width, len(next(iter(by_operations)))
    forms = [by_layers]
    if by_layers.repeats == 1:
        forms += [CoupledChannels(width, parts=size, kernels=size), CoupledChannels(width, chunk=size)]
    for form in forms:
        classes = [set(form.channels([score])) for score in range(form.scores)] if width % form.repeats == 0 else []
        if classes and all(any(together <= own for own in classes) for together in by_operations):
            return form
    return CoupledChannels(width, parts=width)


def _least(group: tp.Group, coupling: CoupledChannels) -> int:
    """Return how many scores leave every norm two values to compare.

    A norm of single values gives a constant, and PyTorch refuses a GroupNorm that has them in a batch of one.
    """
    least = 1
    for item, positions in _positions(group):
        layer = item.dep.target.module
        if isinstance(layer, nn.GroupNorm):
            count, channels, values = layer.num_groups, layer.num_channels, group._DG.pixels.get(layer, 1)
        elif isinstance(layer, nn.LayerNorm):
            count, channels, values = 1, layer.normalized_shape[-1], math.prod(layer.normalized_shape[:-1])
        else:
            continue
        norm = _Layer(layer, False, coupling.width, count, channels // count, positions)
        # Of several groups' channels side by side, each leaves one.
        if values == 1 and len(positions) == channels and not norm.fits_chunks(coupling.chunk):
            least = max(least, math.ceil(2 * count * coupling.scores / channels))
    return min(least, coupling.scores)


def _layers(group: tp.Group) -> Iterator[_Layer]:
    for item, positions in _positions(group):
        node = item.dep.target
        is_chunked = node.type == OPTYPE.SPLIT
        count, channels = _in_chunks(node, positions) if is_chunked else _in_groups(node.module, reads(item))
        if count > 1:
            yield _Layer(node.module, loses_groups(node), len(group[0].idxs), count, channels // count, positions)


def _positions(group: tp.Group) -> Iterator[tuple[Any, dict[int, int]]]:
    """Yield each item with the root positions of its channels, without those that torch-pruning lost at an expand."""
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


def _in_chunks(node: Node, positions: dict[int, int]) -> tuple[int, int]:
    """Return (chunks, channels) of an operation whose equal chunks must lose the same number of channels each."""
    sizes = node.module.split_sizes or [0]
    if len(sizes) == 1 or len(set(sizes)) > 1 or max(positions, default=0) >= sum(sizes):
        return 1, 0
    return len(sizes), sum(sizes)


def _differ(layers: Iterable[_Layer]) -> bool:
    """Tell whether the two sides of a layer are in the dependency group with different groups of the layer."""
    groups: dict[nn.Module, set[int]] = {}
    return any(groups.setdefault(layer.module, set(layer.groups)) != set(layer.groups) for layer in layers)
