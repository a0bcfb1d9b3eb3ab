"""Time of each layer of an engine, joined to the inspector's description of it."""

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from statistics import median

from edgekd.agent.clock import collect
from edgekd.bench.plan import Workload
from edgekd.bench.profile.layers import LayerProfile, LayerTime
from edgekd.errors import MeasurementError
from edgekd.runtimes.pytorch.profile import plain_ms
from edgekd.runtimes.tensorrt.layers import BuiltLayer, LayerTensor, parse_layers
from edgekd.runtimes.tensorrt.session import TensorRTSession

BYTES = {"int4": 0.5, "float4": 0.5, "int8": 1, "float8": 1, "bool": 1, "float16": 2, "bfloat16": 2, "int64": 8}


def profile(
    workload: Workload, threads: int = 1, batch: int = 1, runs: int = 30, trace_to: Path | None = None
) -> LayerProfile:
    """Time every layer by TensorRT's own events, in runs apart from any other timing.

    Precision, MACs and bytes are 0 or empty where the engine was built without ``--profilingVerbosity=detailed``.
    """
    if trace_to is not None:
        raise MeasurementError("TensorRT writes no trace; profile the engine with nsys for one")
    if runs < 1:
        raise MeasurementError(f"{runs} runs show nothing; profile 1 or more")
    if workload.args.get("cuda_graph"):
        raise MeasurementError("a CUDA graph reports no layers; profile the engine without cuda_graph")
    session = TensorRTSession(workload, threads, batch)
    inspector = session.engine.create_engine_inspector()
    inspector.execution_context = session.context
    layers = parse_layers(inspector.get_engine_information(session.trt.LayerInformationFormat.JSON))
    unprofiled_ms = plain_ms(session, runs)
    return replace(join(*record(session, runs), layers), unprofiled_ms=unprofiled_ms)


def record(session: TensorRTSession, runs: int) -> tuple[list[dict[str, float]], list[float]]:
    """Return the milliseconds of each layer in each run, and the wall time of each run."""
    trt = session.trt
    times: list[dict[str, float]] = []

    class Profiler(trt.IProfiler):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            times[-1][layer_name] = times[-1].get(layer_name, 0.0) + ms

    profiler = Profiler()
    session.context.profiler = profiler

    def call() -> None:
        times.append({})
        session.run()

    return times, [ns / 1e6 for ns in collect(call, 0, runs, runs)]


def join(times: list[dict[str, float]], wall: list[float], layers: Mapping[str, BuiltLayer]) -> LayerProfile:
    known = [layers.get(name, BuiltLayer(name)) for name in dict.fromkeys(name for run in times for name in run)]
    steps = tuple(layer_time(layer, median(run.get(layer.name, 0.0) for run in times)) for layer in known)
    return LayerProfile(steps, median(wall), len(times))


def layer_time(layer: BuiltLayer, ms: float) -> LayerTime:
    return LayerTime(layer.name, layer.kind, ms, macs_of(layer), bytes_of(layer), layer.precision)


def macs_of(layer: BuiltLayer) -> int:
    """Return a convolution's multiply-accumulates, or 0 if the inspector does not show them.

    Each weight is used once per output pixel.
    """
    if layer.parameters != "Convolution" or not layer.weights or not layer.outputs:
        return 0
    shape = layer.outputs[0].dimensions
    if len(shape) < 3 or min(shape) < 0:
        return 0
    return shape[0] * prod(shape[2:]) * layer.weights.count


def bytes_of(layer: BuiltLayer) -> int:
    moved = sum(elements(tensor) * width(tensor.precision) for tensor in (*layer.inputs, *layer.outputs))
    stored = sum(each.count * width(each.precision) for each in (layer.weights, layer.bias) if each)
    return round(moved + stored)


def elements(tensor: LayerTensor) -> int:
    return prod(tensor.dimensions) if tensor.dimensions and min(tensor.dimensions) >= 0 else 0


def width(precision: str) -> float:
    return BYTES.get(precision, 4) if precision else 0
