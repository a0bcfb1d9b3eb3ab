"""Prediction of a network's cost at any widths, from the costs of its layers at some widths."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import Protocol

from edgekd.prune.lagrangian import WidthChoice, Widths
from edgekd.prune.latency import Layer, layers_of
from edgekd.prune.prunable import Prunable
from edgekd.prune.structure import Fan

# Candidate widths of a group, and of a fan-in or fan-out that several groups share.
STEPS = 8


class LayerCosts(Protocol):
    """Costs by layer: a :class:`~edgekd.prune.latency.LatencyTable`, or one of :data:`~edgekd.prune.counts.COUNTS`."""

    def measure(self, layers: Iterable[Layer], /) -> int:
        """Measure the layers that are missing, and return their number."""

    def __getitem__(self, layer: Layer, /) -> float: ...


class CutCosts:
    """The cost of ``prunable`` at any of its candidate widths, as a share of its cost before the cut.

    Where a layer's fan-in or fan-out depends on several groups, as behind a concatenation, there are too many widths
    to measure. Costs between two measured widths are then interpolated.

    Args:
        table: costs of layers. :meth:`measure` fills it; then :meth:`set_latency` or :meth:`set_total` sets the
            network's cost.
        steps: the most candidate widths of a group.
    """

    def __init__(self, prunable: Prunable, table: LayerCosts, steps: int = STEPS):
        self.structure, self.table = prunable.structure, table
        found = layers_of(prunable.network, prunable.input_shape)
        self.layers = {name: layer for name, layer in found.items() if name in self.structure.fans}
        self.choices = [_choice(prunable, index, steps) for index in range(len(prunable.groups))]
        self.grids = {name: tuple(self._grid(fan, steps) for fan in self.structure.fans[name]) for name in found}
        self.of_group = [
            [name for name in self.structure.layers_of(group) if name in self.layers]
            for group in range(len(self.choices))
        ]
        self.layer_cost = lru_cache(maxsize=None)(self._layer_cost)
        self.factor, self.per_element, self.fixed, self.total = 1.0, 0.0, 0.0, 0.0

    def measure(self) -> int:
        """Measure the layers that the table lacks, and return their number."""
        return self.table.measure(layer for name in self.layers for layer in self._variants(name))

    def set_latency(self, network_ms: float, reference_ms: float | None = None) -> None:
        """Set the latency of the uncut network, at the speed of the table; shares then refer to ``reference_ms``.

        Time outside the layers is taken to be proportional to the activations that they write, as in
        :func:`edgekd.prune.latency.predict`.
        """
        layers = self._layers_total()
        self.factor = min(1.0, network_ms / layers)
        self.per_element = max(0.0, network_ms - layers) / sum(layer.elements for layer in self.layers.values())
        self.total = reference_ms or network_ms

    def set_total(self, total: float) -> None:
        """Set the counted cost of the uncut network; its part outside the layers stays, whatever their widths."""
        self.fixed, self.total = total - self._layers_total(), total

    def set_layers(self) -> None:
        """Set the cost of the uncut network to that of its layers, as if nothing else cost anything."""
        self.set_total(self._layers_total())

    def share(self, group: int | None, widths: Widths) -> float:
        """Return the relative cost at ``widths`` channels in the groups: of one group's layers, or of the network."""
        names: Iterable[str] = self.layers if group is None else self.of_group[group]
        layers = sum(self._cost(name, *self.structure.widths_of(name, widths)) for name in names)
        return (layers + (self.fixed if group is None else 0.0)) / self.total

    def _layers_total(self) -> float:
        return sum(self.table[layer] for layer in self.layers.values())

    def _cost(self, name: str, inputs: int, outputs: int) -> float:
        layer = self.layers[name]
        elements = layer.elements // layer.outputs * outputs
        return self.factor * self.layer_cost(name, inputs, outputs) + self.per_element * elements

    def _layer_cost(self, name: str, inputs: int, outputs: int) -> float:
        layer, (input_grid, output_grid) = self.layers[name], self.grids[name]
        if name in self.structure.coupled:
            near = _interpolated([_groups(layer, width) for width in input_grid], _groups(layer, inputs))
            return sum(share * self.table[_with_groups(layer, groups)] for groups, share in near)
        return sum(
            first * second * self.table[layer.resized(fan_in, fan_out)]
            for fan_in, first in _interpolated(input_grid, inputs)
            for fan_out, second in _interpolated(output_grid, outputs)
        )

    def _variants(self, name: str) -> Iterator[Layer]:
        layer, (fan_in, fan_out) = self.layers[name], self.structure.fans[name]
        if name in self.structure.coupled:
            return (_with_groups(layer, _groups(layer, inputs)) for inputs in self.grids[name][0])
        one_group = fan_in.factors.keys() == fan_out.factors.keys() and len(fan_in.factors) == 1
        pairs = zip(*self.grids[name], strict=True) if one_group else product(*self.grids[name])
        return (layer.resized(inputs, outputs) for inputs, outputs in pairs)

    def _grid(self, fan: Fan, steps: int) -> tuple[int, ...]:
        groups = list(fan.factors)
        if len(groups) <= 1:
            widths = (width for group in groups for width in self.choices[group].widths)
            return tuple(fan.width({groups[0]: width}) for width in widths) or (fan.constant,)
        ends = [fan.width([choice.widths[index] for choice in self.choices]) for index in (0, -1)]
        return tuple(sorted({ends[0] + (ends[1] - ends[0]) * step // (steps - 1) for step in range(steps)}))


def _choice(prunable: Prunable, index: int, steps: int) -> WidthChoice:
    group = prunable.groups[index]
    keeps = prunable.steps(group, steps)
    return WidthChoice([keep * group.repeats for keep in keeps], [prunable.loss(index, keep) for keep in keeps])


def _interpolated(grid: Sequence[int], width: int) -> list[tuple[int, float]]:
    """Return the neighbours of ``width`` in ``grid``, each with its weight; below the grid its narrowest."""
    above = bisect_left(grid, width)
    if above == 0 or grid[above] == width:
        return [(grid[above], 1.0)]
    low, high = grid[above - 1], grid[above]
    return [(low, (high - width) / (high - low)), (high, (width - low) / (high - low))]


def _groups(layer: Layer, inputs: int) -> int:
    return max(1, layer.groups * inputs // layer.inputs)


def _with_groups(layer: Layer, groups: int) -> Layer:
    """Return the layer with another number of groups of the same width."""
    return layer.resized(layer.inputs // layer.groups * groups, layer.outputs // layer.groups * groups, groups)
