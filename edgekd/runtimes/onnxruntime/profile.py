"""Time of each layer of an ONNX file, from ONNX Runtime's own profiler."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekd.agent.clock import collect, collector_off, warm_up
from edgekd.bench.interleaved import InterleavedRuns
from edgekd.bench.plan import Workload
from edgekd.bench.profile.layers import LayerProfile, LayerTime
from edgekd.bench.profile.network import Network, TensorGraph
from edgekd.bench.profile.trace import KernelRun, Trace, is_weighted, steps_of, trace_to_json
from edgekd.bench.profile.work import activation_bytes_of, macs_of, precision_of, weight_bytes_of
from edgekd.errors import MeasurementError
from edgekd.files import temporary_folder, write_text
from edgekd.runtimes.onnxruntime.join import UnfusedNetwork, nodes_of
from edgekd.runtimes.onnxruntime.session import OnnxSession

if TYPE_CHECKING:
    from onnx import NodeProto

    from edgekd.bench.target import TimingTarget

WARMUP_S, WARMUP_RUNS, MAX_WARMUP_RUNS = 0.3, 3, 200
SECONDS, MORE = 0.5, 4


def profile(workload: Workload, threads: int, batch: int, runs: int, trace_to: Path | None = None) -> LayerProfile:
    """Profile ``runs`` inferences, or more where these take less than half a second, and return each step's median.

    ``trace_to`` is where a Chrome trace of them is written.
    """
    if workload.device != "cpu":
        raise MeasurementError(
            f"ONNX Runtime's profiler does not wait for {workload.device}: profile the TensorRT engine there"
        )
    unprofiled_ms = plain_ms(workload, threads, batch, runs)
    with temporary_folder() as folder:
        optimised = folder / "optimised.onnx"
        session = OnnxSession(workload, threads, batch, profile_to=folder / "profile", optimized_to=optimised)
        with collector_off():
            collect(session.run, WARMUP_S, WARMUP_RUNS, MAX_WARMUP_RUNS)
            counted = len(collect(session.run, SECONDS, runs, MORE * runs))
        trace = Trace.from_json(session.end_profiling())
        runtime = TensorGraph(optimised)
    inferences, total_ms = trace.last(counted)
    steps = steps_of(inferences)
    layers = layers_of(steps, runtime, UnfusedNetwork(Path(workload.model)))
    if trace_to is not None:
        known = {step.name: layer for step, layer in zip(steps, layers, strict=True)}
        write_text(trace_to, json.dumps(trace_to_json(inferences, known)))
    return LayerProfile(tuple(layers), total_ms, counted, unprofiled_ms)


def layer_times(path: Path, threads: int, runs: int, target: "TimingTarget") -> list[LayerTime]:
    """Return each step's median time over ``runs`` inferences at batch 1, or a few more, on ``target``."""
    with temporary_folder() as folder:
        optimised = folder / "optimised.onnx"
        names = ("model",)
        turns = InterleavedRuns(
            {"model": path}, names, names, threads, WARMUP_RUNS, runs, MORE * runs, SECONDS, {"model": optimised}
        )
        taken = target.interleave(turns)
        runtime = TensorGraph(optimised)
    inferences, _ = taken.traces["model"].last(taken.runs("model", turns))
    return layers_of(steps_of(inferences), runtime, UnfusedNetwork(path))


def plain_ms(workload: Workload, threads: int, batch: int, runs: int) -> float:
    session = OnnxSession(workload, threads, batch)
    warm_up(session.run, WARMUP_S, WARMUP_RUNS)
    with collector_off():
        return float(np.median(collect(session.run, SECONDS, runs, MORE * runs))) / 1e6


def layers_of(steps: Sequence[KernelRun], runtime: TensorGraph, network: UnfusedNetwork) -> list[LayerTime]:
    layers = []
    behind: dict[str, str] = {}  # each tensor, and the weighted layer that it comes from
    for step, node in zip(steps, nodes_of(steps, runtime), strict=True):
        origin = network.origin(node, runtime) if node is not None else None
        source = next((behind[name] for name in node.input if name in behind), None) if node is not None else None
        name = name_of(step, origin, network, source)
        if node is not None and (ours := name if is_weighted(step.op) else source):
            behind |= dict.fromkeys(node.output, ours)
        macs, weights = macs_of(step, node, origin, network), weight_bytes_of(step, node, runtime)
        total = activation_bytes_of(step) + weights
        layers.append(LayerTime(name, step.op, step.ms, macs, total, precision_of(step), weights))
    return layers


def name_of(step: KernelRun, origin: "NodeProto | None", network: Network, source: str | None) -> str:
    """Return the module's path, or the step's own name with the layer that it comes after if it is no layer itself."""
    if origin is not None and (label := network.label(origin)):
        return label
    own = ((origin.name if origin is not None else "") or step.name).removeprefix("node_")
    return f"{own} after {source}" if source and not is_weighted(step.op) else own
