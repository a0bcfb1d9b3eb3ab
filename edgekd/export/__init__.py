"""Files for runtimes: ``export_onnx(network, path, preprocess)``."""

from edgekd.export.onnx_file import export_onnx, to_onnx
from edgekd.export.parity import Parity, parity
from edgekd.export.runtime import float_convolutions, runtime_logits

__all__ = ["Parity", "export_onnx", "float_convolutions", "parity", "runtime_logits", "to_onnx"]
