"""Placement by measurement: ``search_placement(model, "onnxruntime-x86")``."""

from edgekd.quantize.placement.choice import NO_BOUNDS, Bounds, MetricBound, PlacementCandidate, PlacementResult
from edgekd.quantize.placement.search import EvidenceOf, choose_untimed, search_placement

__all__ = [
    "NO_BOUNDS",
    "Bounds",
    "EvidenceOf",
    "MetricBound",
    "PlacementCandidate",
    "PlacementResult",
    "choose_untimed",
    "search_placement",
]
