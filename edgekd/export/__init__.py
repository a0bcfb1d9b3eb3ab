"""Export to files of runtimes: ``export_onnx(network, path, preprocess)``."""

from edgekd.export.deploy import deploy
from edgekd.export.deploy.float16 import half
from edgekd.export.onnx_file import export_onnx, to_onnx
from edgekd.export.parity import Mismatch, Outputs, Parity, first_mismatch, parity
from edgekd.export.runtime import float_convolutions, runtime_logits
from edgekd.profiles import PROFILES, Profile

__all__ = [
    "PROFILES",
    "Mismatch",
    "Outputs",
    "Parity",
    "Profile",
    "deploy",
    "export_onnx",
    "first_mismatch",
    "float_convolutions",
    "half",
    "parity",
    "runtime_logits",
    "to_onnx",
]
