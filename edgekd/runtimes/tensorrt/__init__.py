"""Engines built from ONNX files and cached by TensorRT 10, TensorRT 11 or TensorRT for RTX, whichever is installed.

TensorRT itself is imported on first use. :mod:`edgekd.runtimes.tensorrt.session` runs engines, and needs torch.
"""

from typing import TYPE_CHECKING

from edgekd.lazy import exporter

if TYPE_CHECKING:
    from edgekd.runtimes.tensorrt.adapter import PACKAGES, errors_of, library
    from edgekd.runtimes.tensorrt.builder import WORKSPACE_BYTES, Engine, build
    from edgekd.runtimes.tensorrt.cache import engine_for
    from edgekd.runtimes.tensorrt.gpu import Gpu, current_gpu
    from edgekd.runtimes.tensorrt.layers import BuiltLayer, layer_precisions, parse_layers
    from edgekd.runtimes.tensorrt.parser import ParseError, parse_errors
    from edgekd.runtimes.tensorrt.record import EngineRecord, incompatibility, read_record

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

__getattr__ = exporter(
    __name__,
    {
        "adapter": ("PACKAGES", "errors_of", "library"),
        "builder": ("WORKSPACE_BYTES", "Engine", "build"),
        "cache": ("engine_for",),
        "gpu": ("Gpu", "current_gpu"),
        "layers": ("BuiltLayer", "layer_precisions", "parse_layers"),
        "parser": ("ParseError", "parse_errors"),
        "record": ("EngineRecord", "incompatibility", "read_record"),
    },
)
