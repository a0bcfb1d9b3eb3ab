"""Time of each layer of an ONNX file in OpenVINO, joined to the layers of the file."""

import json
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekd.agent.clock import collect, collector_off, warm_up
from edgekd.bench.interleaved import InterleavedRuns
from edgekd.bench.plan import Workload
from edgekd.bench.profile.layers import LayerProfile, LayerTime
from edgekd.bench.profile.network import Network
from edgekd.bench.profile.trace import KernelRun, Trace, is_weighted, steps_of, trace_to_json
from edgekd.bench.profile.work import activation_bytes_of, macs_of, precision_of
from edgekd.files import write_text
from edgekd.runtimes.openvino.execution import origin
from edgekd.runtimes.openvino.recording import BYTES
from edgekd.runtimes.openvino.session import OpenVinoSession

if TYPE_CHECKING:
    from onnx import NodeProto

    from edgekd.bench.target import TimingTarget

WARMUP_S, WARMUP_RUNS = 0.3, 3
SECONDS, MORE = 0.5, 4
STEPS = ("QuantizeLinear", "DequantizeLinear")


def profile(workload: Workload, threads: int, batch: int, runs: int, trace_to: Path | None = None) -> LayerProfile:
    """Profile ``runs`` inferences, and return each node's median over the rounds that they are taken in.

    ``trace_to`` is where a Chrome trace of them is written.
    """
    session = OpenVinoSession(workload, threads, batch)
    warm_up(session.run, WARMUP_S, WARMUP_RUNS)
    with collector_off():
        unprofiled_ms = float(np.median(collect(session.run, SECONDS, runs, MORE * runs))) / 1e6
    recorded = OpenVinoSession(workload, threads, batch, profile_to="memory")
    with collector_off():
        # Rounds of it begin with a compilation, which no node's time has.
        counted = len(collect(recorded.run, 0, runs))
    inferences, total_ms = Trace.from_json(recorded.end_profiling()).last(counted)
    steps = steps_of(inferences)
    layers = layers_of(steps, Network(Path(workload.model)))
    if trace_to is not None:
        known = {step.name: layer for step, layer in zip(steps, layers, strict=True)}
        write_text(trace_to, json.dumps(trace_to_json(inferences, known)))
    return LayerProfile(tuple(layers), total_ms, counted, unprofiled_ms)


def layer_times(path: Path, threads: int, runs: int, target: "TimingTarget") -> list[LayerTime]:
    """Return each node's median time over ``runs`` inferences at batch 1, or a few more, on ``target``."""
    names = ("model",)
    turns = InterleavedRuns(
        {"model": path}, names, names, threads, WARMUP_RUNS, runs, MORE * runs, SECONDS, runtime="openvino"
    )
    taken = target.interleave(turns)
    inferences, _ = taken.traces["model"].last(taken.runs("model", turns))
    return layers_of(steps_of(inferences), Network(path))


def layers_of(steps: Sequence[KernelRun], network: Network) -> list[LayerTime]:
    """Return the steps under the names of the file's layers.

    A step that is no layer has its own name and that of the layer it comes after, or brings its input to.
    """
    behind = _layers_behind(network)
    return [_layer(step, network, behind) for step in steps]


def _layer(step: KernelRun, network: Network, behind: dict[str, str]) -> LayerTime:
    node = network.by_name.get(step.name)
    name = _name(step, node, network, behind)
    weights = prod(step.inputs[1][1]) * BYTES.get(step.inputs[1][0], 4) if is_weighted(step.op) else 0
    moved = activation_bytes_of(step) + weights
    macs = macs_of(step, None, node, network)
    return LayerTime(name, step.op, step.ms, macs, moved, precision_of(step), weights)


def _name(step: KernelRun, node: "NodeProto | None", network: Network, behind: dict[str, str]) -> str:
    if node is None:
        reader = _reader(step.name, network)
        near = (network.label(reader) or reader.name) if reader is not None else None
    elif node.op_type not in STEPS and (label := network.label(node)):
        return label
    else:
        near = next((behind[name] for name in node.output if name in behind), None)
    return f"{step.name} after {near}" if near else step.name


def _reader(name: str, network: Network) -> "NodeProto | None":
    """Return the node that a change of layout is for: OpenVINO names it after the maker, the layouts and the reader."""
    ends = [index + 1 for index, mark in enumerate(name) if mark == "_"]
    return next((network.by_name[key] for end in ends if (key := origin(name[end:])) in network.by_name), None)


def _layers_behind(network: Network) -> dict[str, str]:
    """Return for each tensor of the file the layer with weights that it comes from."""
    behind: dict[str, str] = {}
    for node in network.nodes:
        if is_weighted(node.op_type):
            source = network.label(node) or node.name
        else:
            source = next((behind[name] for name in node.input if name in behind), "")
        if source:
            behind.update(dict.fromkeys(node.output, source))
    return behind
