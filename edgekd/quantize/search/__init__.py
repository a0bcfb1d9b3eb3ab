"""Placement by measurement: ``place(model, "onnxruntime-x86")``."""

from edgekd.quantize.search.rule import NO_BOUNDS, Bounds, Placed, PlacementCandidate
from edgekd.quantize.search.search import Correct, place, place_untimed

__all__ = ["NO_BOUNDS", "Bounds", "Correct", "Placed", "PlacementCandidate", "place", "place_untimed"]
