"""What a network would cost at other widths, by what its layers cost at some."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import Protocol

from edgekd.prune.latency import Layer, layers_of
from edgekd.prune.prunable import Prunable
from edgekd.prune.search import WidthChoice, Widths
from edgekd.prune.structure import Side

# Candidate widths of a group, and of a side that several groups share.
STEPS = 8


class LayerCosts(Protocol):
    """Of layers: a :class:`~edgekd.prune.latency.LatencyTable`, or one of :data:`~edgekd.prune.counts.COUNTS`."""

    def measure(self, layers: Iterable[Layer], /) -> int:
        """Finds out what is missing, and gives how many layers that were."""

    def __getitem__(self, layer: Layer, /) -> float: ...


class CutCosts:
    """What ``prunable`` costs at any of its candidate widths, as a share of what it costs as it is.

    Where a side of a layer depends on several groups, as behind a concatenation, its widths are too many to measure,
    and costs between two that were measured are interpolated.

    Args:
        table: of what layers cost, which :meth:`measure` fills; then one of the others sets what the whole costs.
        steps: candidate widths of a group, at most.
    """

    def __init__(self, prunable: Prunable, table: LayerCosts, steps: int = STEPS):
        self.structure, self.table = prunable.structure, table
        found = layers_of(prunable.network, prunable.input_shape)
        self.layers = {name: layer for name, layer in found.items() if name in self.structure.sides}
        self.choices = [_choice(prunable, index, steps) for index in range(len(prunable.groups))]
        self.grids = {name: tuple(self._grid(side, steps) for side in self.structure.sides[name]) for name in found}
        self.of_group = [
            [name for name in self.structure.layers_of(group) if name in self.layers]
            for group in range(len(self.choices))
        ]
        self.of_layer = lru_cache(maxsize=None)(self._of_layer)
        self.factor, self.written, self.fixed, self.whole = 1.0, 0.0, 0.0, 0.0

    def measure(self) -> int:
        """Fills the table with what is missing, and gives how many layers that were."""
        return self.table.measure(layer for name in self.layers for layer in self._variants(name))

    def timed(self, whole_ms: float, reference_ms: float | None = None) -> None:
        """``whole_ms`` is the network's time as it is, at the speed of the table; shares are of ``reference_ms``.

        What it takes beyond its layers goes with the activations that these write, as in
        :func:`edgekd.prune.latency.predict`.
        """
        layers = self._layers_total()
        self.factor = min(1.0, whole_ms / layers)
        self.written = max(0.0, whole_ms - layers) / sum(layer.elements for layer in self.layers.values())
        self.whole = reference_ms or whole_ms

    def counted(self, whole: float) -> None:
        """``whole`` is what the network costs as it is; what that is beyond its layers stays, whatever their widths."""
        self.fixed, self.whole = whole - self._layers_total(), whole

    def share(self, group: int | None, widths: Widths) -> float:
        """Of the layers of ``group``, or of all, at ``widths`` channels in the groups."""
        names: Iterable[str] = self.layers if group is None else self.of_group[group]
        layers = sum(self._cost(name, *self.structure.widths_of(name, widths)) for name in names)
        return (layers + (self.fixed if group is None else 0.0)) / self.whole

    def _layers_total(self) -> float:
        return sum(self.table[layer] for layer in self.layers.values())

    def _cost(self, name: str, inputs: int, outputs: int) -> float:
        layer = self.layers[name]
        elements = layer.elements // layer.outputs * outputs
        return self.factor * self.of_layer(name, inputs, outputs) + self.written * elements

    def _of_layer(self, name: str, inputs: int, outputs: int) -> float:
        layer, (reads, writes) = self.layers[name], self.grids[name]
        if name in self.structure.tied:
            near = _between([_groups(layer, width) for width in reads], _groups(layer, inputs))
            return sum(share * self.table[_with_groups(layer, groups)] for groups, share in near)
        return sum(
            first * second * self.table[layer.resized(width, height)]
            for width, first in _between(reads, inputs)
            for height, second in _between(writes, outputs)
        )

    def _variants(self, name: str) -> Iterator[Layer]:
        layer, sides = self.layers[name], self.structure.sides[name]
        if name in self.structure.tied:
            return (_with_groups(layer, _groups(layer, inputs)) for inputs in self.grids[name][0])
        one_group = sides[0].factors.keys() == sides[1].factors.keys() and len(sides[0].factors) == 1
        pairs = zip(*self.grids[name], strict=True) if one_group else product(*self.grids[name])
        return (layer.resized(inputs, outputs) for inputs, outputs in pairs)

    def _grid(self, side: Side, steps: int) -> tuple[int, ...]:
        groups = list(side.factors)
        if len(groups) <= 1:
            widths = (width for group in groups for width in self.choices[group].widths)
            return tuple(side.width({groups[0]: width}) for width in widths) or (side.constant,)
        ends = [side.width([choice.widths[index] for choice in self.choices]) for index in (0, -1)]
        return tuple(sorted({ends[0] + (ends[1] - ends[0]) * step // (steps - 1) for step in range(steps)}))


def _choice(prunable: Prunable, index: int, steps: int) -> WidthChoice:
    group = prunable.groups[index]
    keeps = prunable.steps(group, steps)
    return WidthChoice([keep * group.repeats for keep in keeps], [prunable.loss(index, keep) for keep in keeps])


def _between(grid: Sequence[int], width: int) -> list[tuple[int, float]]:
    """The neighbours of ``width`` in ``grid``, each with its weight; below the grid its narrowest."""
    above = bisect_left(grid, width)
    if above == 0 or grid[above] == width:
        return [(grid[above], 1.0)]
    low, high = grid[above - 1], grid[above]
    return [(low, (high - width) / (high - low)), (high, (width - low) / (high - low))]


def _groups(layer: Layer, inputs: int) -> int:
    return max(1, layer.groups * inputs // layer.inputs)


def _with_groups(layer: Layer, groups: int) -> Layer:
    """The layer with groups of the same width."""
    return layer.resized(layer.inputs // layer.groups * groups, layer.outputs // layer.groups * groups, groups)
