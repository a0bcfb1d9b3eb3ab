"""Export to files of runtimes: ``export_onnx(network, path, preprocess)``."""

from edgekd.deploy import deploy
from edgekd.deploy.float16 import half
from edgekd.export.onnx_file import export_onnx, signature_of, to_onnx
from edgekd.export.parity import Mismatch, OutputParity, Outputs, Parity, first_mismatch, output_parity, parity
from edgekd.export.runtime import all_outputs, float_convolutions, runtime_logits, runtime_outputs
from edgekd.profiles import PROFILES
from edgekd.runtime import Profile

__all__ = [
    "PROFILES",
    "Mismatch",
    "OutputParity",
    "Outputs",
    "Parity",
    "Profile",
    "all_outputs",
    "deploy",
    "export_onnx",
    "first_mismatch",
    "float_convolutions",
    "half",
    "output_parity",
    "parity",
    "runtime_logits",
    "runtime_outputs",
    "signature_of",
    "to_onnx",
]
