"""TensorRT on a device behind SSH, where ``trtexec`` builds and runs engines: times, predictions, layers."""

from edgekd.runtimes.tensorrt.remote.latency import measure_engines as measure
from edgekd.runtimes.tensorrt.remote.predictions import predict_with_engines as predict

__all__ = ["measure", "predict"]
