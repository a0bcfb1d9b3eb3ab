"""Quantisation: ``graph = prepare(network, (3, 32, 32))``, train it, ``convert(graph)``."""

from edgekd.quantize.profile import PROFILES, Profile
from edgekd.quantize.qat import calibrate, convert, hold, observe, prepare
from edgekd.quantize.quantizer import RuntimeQuantizer

__all__ = ["PROFILES", "Profile", "RuntimeQuantizer", "calibrate", "convert", "hold", "observe", "prepare"]
