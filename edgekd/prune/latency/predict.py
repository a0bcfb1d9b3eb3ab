"""A network's time at other widths."""

from collections.abc import Mapping
from typing import Protocol

from edgekd.prune.latency.layer import Layer


class Times(Protocol):
    """Milliseconds of layers: a :class:`~edgekd.prune.latency.table.LatencyTable`, or a dict."""

    def __getitem__(self, layer: Layer, /) -> float: ...


def predict(network_ms: float, before: Mapping[str, Layer], after: Mapping[str, Layer], table: Times) -> float:
    """Milliseconds of a network whose layers are ``after``, when with ``before`` it takes ``network_ms``.

    What the network takes beyond its layers goes with the activations that these write, since additions, poolings and
    reorderings pass over them: T' = (T − Σ t) · e'/e + Σ t'. Where the layers by themselves take longer than the
    network, they are too slow in the table by one factor: T' = T · Σ t' / Σ t.
    """
    now, then = (sum(table[layer] for layer in layers.values()) for layers in (before, after))
    if network_ms < now:
        return network_ms * then / now
    share = elements(after) / elements(before)
    return (network_ms - now) * share + then


def elements(layers: Mapping[str, Layer]) -> int:
    """Activations that the layers write in one inference."""
    return sum(layer.elements for layer in layers.values())
