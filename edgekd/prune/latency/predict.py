"""A network's time at other widths."""

import math
from collections.abc import Callable, Mapping
from typing import Protocol

from torch import nn

from edgekd.errors import MeasurementError
from edgekd.prune.latency.layer import Layer
from edgekd.prune.latency.network import layers_of
from edgekd.prune.latency.table import LatencyTable


class LayerTimes(Protocol):
    """Milliseconds of layers: a :class:`~edgekd.prune.latency.table.LatencyTable`, or a dict."""

    def __getitem__(self, layer: Layer, /) -> float: ...


def predict(network_ms: float, before: Mapping[str, Layer], after: Mapping[str, Layer], table: LayerTimes) -> float:
    """Milliseconds of a network whose layers are ``after``, when with ``before`` it takes ``network_ms``.

    What the network takes beyond its layers goes with the activations that these write, since additions, poolings and
    reorderings pass over them: T' = (T − Σ t) · e'/e + Σ t'. Where the layers by themselves take longer than the
    network, they are too slow in the table by one factor: T' = T · Σ t' / Σ t.
    """
    now, then = _total(before, table), _total(after, table)
    if network_ms < now:
        return network_ms * then / now
    share = elements(after) / elements(before)
    return (network_ms - now) * share + then


def predictor(
    network: nn.Module, input_shape: tuple[int, ...], table: LatencyTable, whole_ms: float
) -> Callable[[nn.Module], float]:
    """A function that predicts the time of a cut copy of ``network``, as a share of that of ``network``.

    It measures the layers that the table lacks as it comes by them, ``network``'s own at once.

    >>> share = predictor(network, shape, table, network_ms("network.onnx", table))  # doctest: +SKIP
    >>> scan(network, shape, accuracy, latency=share)  # doctest: +SKIP

    Args:
        input_shape: one input without its batch.
        whole_ms: what ``network`` takes at the speed of the table, as :func:`network_ms` gives it after the table's
            last measurement; in (0, ∞).

    Raises:
        MeasurementError: ``whole_ms`` is no time, or ONNX Runtime does not run one of the layers.
        ModelError: the network does not take such an input, or calls no layer that could be timed.
    """
    if not 0 < whole_ms < math.inf:
        raise MeasurementError(f"the whole network cannot take {whole_ms} ms: give what network_ms measures")
    before = layers_of(network, input_shape)
    table.measure(before.values())
    at_first = _total(before, table)

    def share(cut: nn.Module) -> float:
        after = layers_of(cut, input_shape)
        table.measure(after.values())
        # A measurement may find the machine at a better speed, to which the table then brings all of its times.
        whole = whole_ms * _total(before, table) / at_first
        return predict(whole, before, after, table) / whole

    return share


def _total(layers: Mapping[str, Layer], table: LayerTimes) -> float:
    return sum(table[layer] for layer in layers.values())


def elements(layers: Mapping[str, Layer]) -> int:
    """Activations that the layers write in one inference."""
    return sum(layer.elements for layer in layers.values())
