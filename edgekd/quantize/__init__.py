"""Quantisation: ``graph = prepare(network, (3, 32, 32))``, train it, ``convert(graph)``."""

from edgekd.profiles import PROFILES
from edgekd.quantize.biases import round_biases
from edgekd.quantize.calibration import CALIBRATIONS, calibrate
from edgekd.quantize.fake_quant import FakeQuantize
from edgekd.quantize.files import export_runtime
from edgekd.quantize.qat import convert, freeze_ranges, observe, prepare
from edgekd.quantize.quantizer import RuntimeQuantizer
from edgekd.runtime import Profile

__all__ = [
    "CALIBRATIONS",
    "PROFILES",
    "FakeQuantize",
    "Profile",
    "RuntimeQuantizer",
    "calibrate",
    "convert",
    "export_runtime",
    "freeze_ranges",
    "observe",
    "prepare",
    "round_biases",
]
