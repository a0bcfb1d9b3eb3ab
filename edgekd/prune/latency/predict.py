"""A network's latency as measured, and predicted at other widths."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from torch import nn

from edgekd.bench.interleaved import InterleavedRuns
from edgekd.bench.quiet_moment import interleave_when_quiet
from edgekd.errors import MeasurementError
from edgekd.prune.latency.kernels import COPIES, REFERENCE, by_layer
from edgekd.prune.latency.layer import Layer
from edgekd.prune.latency.network import layers_of
from edgekd.prune.latency.readings import readings
from edgekd.prune.latency.table import LatencyTable
from edgekd.tasks.signature import Shape, Signature

# The reference layer takes the network's weights out of the cache: the first run after it is slower.
TURN, WARMUP_TURNS, MIN_TURNS, MAX_TURNS = 4, 2, 6, 58


class LayerTimes(Protocol):
    """Milliseconds by layer: a :class:`~edgekd.prune.latency.table.LatencyTable`, or a dict."""

    def __getitem__(self, layer: Layer, /) -> float: ...


def predict(network_ms: float, before: Mapping[str, Layer], after: Mapping[str, Layer], table: LayerTimes) -> float:
    """Predict the milliseconds of a network with the layers ``after``, when with ``before`` it takes ``network_ms``.

    Time outside the layers is taken to be proportional to the activations that they write, since additions, poolings
    and reorderings pass over these: T' = (T − Σ t) · e'/e + Σ t'. If the layers alone take longer than the network,
    the table is taken to be too slow by one factor: T' = T · Σ t' / Σ t.
    """
    now, then = _total(before, table), _total(after, table)
    if network_ms < now:
        return network_ms * then / now
    share = elements(after) / elements(before)
    return (network_ms - now) * share + then


def predictor(
    network: nn.Module, input_shape: Shape | Signature, table: LatencyTable, uncut_ms: float
) -> Callable[[nn.Module], float]:
    """Return a function that predicts the latency of a cut copy of ``network``, as a share of ``network``'s.

    It measures layers that the table lacks when it meets them, those of ``network`` at once.

    >>> share = predictor(network, shape, table, network_ms("network.onnx", table))  # doctest: +SKIP
    >>> scan(network, shape, accuracy, latency=share)  # doctest: +SKIP

    Args:
        input_shape: shape of one input, without the batch; or a signature.
        uncut_ms: the latency of ``network`` at the speed of the table, as :func:`network_ms` gives it after the
            table's last measurement; in (0, ∞).

    Raises:
        MeasurementError: ``uncut_ms`` is out of range, or the runtime does not run one of the layers.
        ModelError: the network does not take such an input, or calls no layer that could be timed.
    """
    if not 0 < uncut_ms < math.inf:
        raise MeasurementError(f"the network's latency cannot be {uncut_ms} ms: give the result of network_ms")
    before = layers_of(network, input_shape)
    table.measure(before.values())
    at_first = _total(before, table)

    def share(cut: nn.Module) -> float:
        after = layers_of(cut, input_shape)
        table.measure(after.values())
        # A measurement may find the machine at a better speed, to which the table then brings all of its times.
        uncut = uncut_ms * _total(before, table) / at_first
        return predict(uncut, before, after, table) / uncut

    return share


def _total(layers: Mapping[str, Layer], table: LayerTimes) -> float:
    return sum(table[layer] for layer in layers.values())


def elements(layers: Mapping[str, Layer]) -> int:
    """Return the number of activations that the layers write in one inference."""
    return sum(layer.elements for layer in layers.values())


def network_ms(path: Path | str, table: LatencyTable, seconds: float = 1.5) -> float:
    """Measure the milliseconds of all kernels in one inference of the ONNX file at ``path``, at the speed of ``table``.

    They are timed in turns with the table's reference layer. Where the machine is slower now than at its best, the wall
    clock shows more; :func:`edgekd.bench.measure` gives that.

    Args:
        seconds: the most time to take; a few inferences run in any case.

    Raises:
        MeasurementError: the file does not load or run, or the table is empty.
    """
    setting, order = table.setting, ["network"] * TURN + ["reference"]
    with setting.files({"reference": [REFERENCE] * COPIES}) as files:
        models = {**files, "network": Path(path)}
        counts = (WARMUP_TURNS, MIN_TURNS, MAX_TURNS)
        turns = InterleavedRuns(models, order, models, setting.threads, *counts, seconds, runtime=setting.runtime)
        taken = interleave_when_quiet(setting.target.interleave, turns)
    kernels = readings(taken, turns, "network")
    reference_ms = sum(by_layer(readings(taken, turns, "reference")).values()) / COPIES
    return sum(table.at_best(kernel.ms / reference_ms) for kernel in kernels)
