"""Runtimes by name. Each folder holds the same files: ``session.py`` runs a model, ``profile.py`` times its layers.

A runtime is imported when it is used, so that only the one that is measured must be installed.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgekd.bench.plan import Workload
from edgekd.errors import MeasurementError
from edgekd.registry import Registry

if TYPE_CHECKING:
    from edgekd.bench.runtimes.session import Session

RUNTIMES: "Registry[Callable[[], type[Session]]]" = Registry("runtime", MeasurementError)


def open_session(workload: Workload, threads: int = 1, batch: int = 1, seed: int = 0) -> "Session":
    """Load ``workload`` in its runtime, with inputs in place."""
    return RUNTIMES.find(workload.runtime)()(workload, threads, batch, seed)


@RUNTIMES.register("onnxruntime", "onnxruntime-tensorrt")
def onnxruntime() -> "type[Session]":
    from edgekd.bench.runtimes.onnxruntime.session import OnnxSession

    return OnnxSession


@RUNTIMES.register("pytorch", "pytorch-compiled", "pytorch-cudagraph")
def pytorch() -> "type[Session]":
    from edgekd.bench.runtimes.pytorch.session import TorchSession

    return TorchSession


@RUNTIMES.register("tensorrt")
def tensorrt() -> "type[Session]":
    from edgekd.bench.runtimes.tensorrt.session import TensorRTSession

    return TensorRTSession
