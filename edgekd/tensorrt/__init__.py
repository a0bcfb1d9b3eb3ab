"""Engines built from ONNX files and cached by TensorRT 10, TensorRT 11 or TensorRT for RTX, whichever is installed.

Nothing here needs torch; TensorRT itself is imported on first use. :mod:`edgekd.bench.runtimes.tensorrt` runs engines.
"""

from edgekd.tensorrt.adapter import PACKAGES, errors_of, library
from edgekd.tensorrt.builder import WORKSPACE_BYTES, Engine, build
from edgekd.tensorrt.cache import engine_for
from edgekd.tensorrt.gpu import Gpu, current_gpu
from edgekd.tensorrt.layers import BuiltLayer, layer_precisions, parse_layers
from edgekd.tensorrt.parser import ParseError, parse_errors
from edgekd.tensorrt.record import EngineRecord, incompatibility, read_record

__all__ = [
    "PACKAGES",
    "WORKSPACE_BYTES",
    "BuiltLayer",
    "Engine",
    "EngineRecord",
    "Gpu",
    "ParseError",
    "build",
    "current_gpu",
    "engine_for",
    "errors_of",
    "incompatibility",
    "layer_precisions",
    "library",
    "parse_errors",
    "parse_layers",
    "read_record",
]
