"""Files for runtimes: ``export_onnx(network, path, preprocess)``."""

from edgekd.export.deploy import deploy
from edgekd.export.half import half
from edgekd.export.onnx_file import export_onnx, to_onnx
from edgekd.export.parity import Departure, Outputs, Parity, first_departure, parity
from edgekd.export.profile import PROFILES, Profile
from edgekd.export.runtime import float_convolutions, runtime_logits

__all__ = [
    "PROFILES",
    "Departure",
    "Outputs",
    "Parity",
    "Profile",
    "deploy",
    "export_onnx",
    "first_departure",
    "float_convolutions",
    "half",
    "parity",
    "runtime_logits",
    "to_onnx",
]
