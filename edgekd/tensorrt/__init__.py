"""ONNX files parsed, built and kept as engines by TensorRT 10, TensorRT 11 or TensorRT for RTX, whichever is installed.

Nothing here needs torch; TensorRT itself is imported when it is asked for. What runs an engine is
:mod:`edgekd.bench.runtimes.tensorrt`.
"""

from edgekd.tensorrt.adapter import PACKAGES, errors_of, library
from edgekd.tensorrt.builder import WORKSPACE_BYTES, Engine, build
from edgekd.tensorrt.cache import engine_for
from edgekd.tensorrt.gpu import Gpu, current_gpu
from edgekd.tensorrt.layers import layer_precisions, parse_layers, precision_of
from edgekd.tensorrt.parser import ParseError, parse_errors
from edgekd.tensorrt.record import Record, foreign, read_record

__all__ = [
    "PACKAGES",
    "WORKSPACE_BYTES",
    "Engine",
    "Gpu",
    "ParseError",
    "Record",
    "build",
    "current_gpu",
    "engine_for",
    "errors_of",
    "foreign",
    "layer_precisions",
    "library",
    "parse_errors",
    "parse_layers",
    "precision_of",
    "read_record",
]
