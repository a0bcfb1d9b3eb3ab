"""Time of each layer of an engine, joined to the inspector's description of it."""

from dataclasses import replace
from math import prod
from pathlib import Path
from statistics import median
from time import perf_counter_ns

from edgekd.bench.plan import Workload
from edgekd.bench.profile.layers import LayerProfile, LayerTime
from edgekd.bench.runtimes.pytorch.profile import plain_ms
from edgekd.bench.runtimes.tensorrt.session import TensorRTSession
from edgekd.errors import MeasurementError
from edgekd.tensorrt.layers import Layer, datatype, named, parse_layers, precision_of, tensors

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
    wall: list[float] = []

    class Profiler(trt.IProfiler):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            times[-1][layer_name] = times[-1].get(layer_name, 0.0) + ms

    profiler = Profiler()
    session.context.profiler = profiler
    for _ in range(runs):
        times.append({})
        started = perf_counter_ns()
        session.run()
        wall.append((perf_counter_ns() - started) / 1e6)
    return times, wall


def join(times: list[dict[str, float]], wall: list[float], layers: dict[str, Layer]) -> LayerProfile:
    names = list(dict.fromkeys(name for run in times for name in run))
    steps = tuple(layer_time(name, median(run.get(name, 0.0) for run in times), layers.get(name, {})) for name in names)
    return LayerProfile(steps, median(wall), len(times))


def layer_time(name: str, ms: float, layer: Layer) -> LayerTime:
    return LayerTime(name, layer.get("LayerType", ""), ms, macs_of(layer), bytes_of(layer), precision_of(layer))


def macs_of(layer: Layer) -> int:
    """Return a convolution's multiply-accumulates, or 0 if the inspector does not show them.

    Each weight is used once per output pixel.
    """
    weights, outputs = layer.get("Weights"), tensors(layer, "Outputs")
    if layer.get("ParameterType") != "Convolution" or not isinstance(weights, dict) or not outputs:
        return 0
    shape = outputs[0].get("Dimensions", [])
    if len(shape) < 3 or min(shape) < 0:
        return 0
    return int(shape[0] * prod(shape[2:]) * weights.get("Count", 0))


def bytes_of(layer: Layer) -> int:
    found = [*tensors(layer, "Inputs"), *tensors(layer, "Outputs")]
    total = sum(elements(tensor) * width(datatype(tensor)) for tensor in found)
    for key in ("Weights", "Bias"):
        state = layer.get(key)
        if isinstance(state, dict):
            total += state.get("Count", 0) * width(named(str(state.get("Type", ""))))
    return round(total)


def elements(tensor: Layer) -> int:
    shape = tensor.get("Dimensions", [])
    return prod(shape) if shape and min(shape) >= 0 else 0


def width(precision: str) -> float:
    return BYTES.get(precision, 4) if precision else 0
