"""Latencies of layers at any widths, measured on a machine: ``table.measure(layers_of(network, shape).values())``."""

from edgekd.prune.latency.layer import Layer
from edgekd.prune.latency.network import layers_of
from edgekd.prune.latency.predict import LayerTimes, network_ms, predict, predictor
from edgekd.prune.latency.table import LatencyTable

__all__ = ["LatencyTable", "Layer", "LayerTimes", "layers_of", "network_ms", "predict", "predictor"]
