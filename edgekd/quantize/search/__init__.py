"""Placement by measurement: ``place(model, "onnxruntime-x86")``."""

from edgekd.quantize.search.search import Candidate, Placed, place

__all__ = ["Candidate", "Placed", "place"]
