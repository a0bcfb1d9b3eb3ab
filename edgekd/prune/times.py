"""What a network would cost at other widths, by a table of layer times."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import product

from edgekd.prune.latency import LatencyTable, Layer, layers_of
from edgekd.prune.prunable import Prunable
from edgekd.prune.search import Choice, Widths
from edgekd.prune.structure import Side

# Candidate widths of a group, and of a side that several groups share.
STEPS = 8


class CutTimes:
    """The time of ``prunable`` at any of its candidate widths, as a share of what it takes as it is.

    What the network takes beyond its layers goes with the activations that these write, as in
    :func:`edgekd.prune.latency.predict`. Where a side of a layer depends on several groups, as behind a concatenation,
    its widths are too many to measure, and times between two that were measured are interpolated.

    Args:
        table: of layer times, which :meth:`measure` fills; then :meth:`calibrate` sets what the whole takes.
        steps: candidate widths of a group, at most.
    """

    def __init__(self, prunable: Prunable, table: LatencyTable, steps: int = STEPS):
        self.structure, self.table = prunable.structure, table
        found = layers_of(prunable.network, prunable.input_shape)
        self.layers = {name: layer for name, layer in found.items() if name in self.structure.sides}
        self.choices = [_choice(prunable, index, steps) for index in range(len(prunable.groups))]
        self.grids = {name: tuple(self._grid(side, steps) for side in self.structure.sides[name]) for name in found}
        self.of_group = [
            [name for name in self.structure.layers_of(group) if name in self.layers]
            for group in range(len(self.choices))
        ]
        self.time = lru_cache(maxsize=None)(self._time)
        self.factor, self.beyond, self.whole = 1.0, 0.0, 0.0

    def measure(self) -> int:
        """Fills the table with what is missing, and gives how many layers that were."""
        return self.table.measure(layer for name in self.layers for layer in self._variants(name))

    def calibrate(self, whole_ms: float, reference_ms: float | None = None) -> None:
        """``whole_ms`` is the network's time as it is, at the speed of the table; shares are of ``reference_ms``."""
        layers = sum(self.table[layer] for layer in self.layers.values())
        self.factor = min(1.0, whole_ms / layers)
        self.beyond = max(0.0, whole_ms - layers) / sum(layer.elements for layer in self.layers.values())
        self.whole = reference_ms or whole_ms

    def share(self, group: int | None, widths: Widths) -> float:
        """Of the layers of ``group``, or of all, at ``widths`` channels in the groups."""
        names: Iterable[str] = self.layers if group is None else self.of_group[group]
        return sum(self._cost(name, *self.structure.widths_of(name, widths)) for name in names) / self.whole

    def _cost(self, name: str, inputs: int, outputs: int) -> float:
        layer = self.layers[name]
        written = layer.elements // layer.outputs * outputs
        return self.factor * self.time(name, inputs, outputs) + self.beyond * written

    def _time(self, name: str, inputs: int, outputs: int) -> float:
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


def _choice(prunable: Prunable, index: int, steps: int) -> Choice:
    group = prunable.groups[index]
    keeps = prunable.steps(group, steps)
    return Choice([keep * group.repeats for keep in keeps], [prunable.loss(index, keep) for keep in keeps])


def _between(grid: Sequence[int], width: int) -> list[tuple[int, float]]:
    """The neighbours of ``width`` in ``grid``, each with its weight."""
    above = bisect_left(grid, width)
    if above < len(grid) and grid[above] == width:
        return [(width, 1.0)]
    low, high = grid[above - 1], grid[above]
    return [(low, (high - width) / (high - low)), (high, (width - low) / (high - low))]


def _groups(layer: Layer, inputs: int) -> int:
    return max(1, layer.groups * inputs // layer.inputs)


def _with_groups(layer: Layer, groups: int) -> Layer:
    """The layer with groups of the same width."""
    return layer.resized(layer.inputs // layer.groups * groups, layer.outputs // layer.groups * groups, groups)
