"""Time of each leaf module of a network in eager PyTorch, under its path in ``named_modules``."""

import os
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, record_function
from torch.utils._pytree import tree_leaves

from edgekd.agent.clock import collect, collector_off, warm_up
from edgekd.agent.session import Session
from edgekd.bench.plan import Workload
from edgekd.bench.profile.layers import LayerProfile, LayerTime
from edgekd.errors import MeasurementError
from edgekd.files import make_folder, storage
from edgekd.runtimes.pytorch.session import EAGER, TorchSession

WHOLE = "one inference"
REMAINDER = "outside of layers"
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass
class Work:
    """The work of a layer in one inference, summed over its calls."""

    op: str
    precision: str
    macs: int = 0
    bytes: int = 0


def profile(
    workload: Workload, threads: int = 1, batch: int = 1, runs: int = 30, trace_to: Path | None = None
) -> LayerProfile:
    """Time every leaf module by torch.profiler, on CUDA by its kernels; ``trace_to`` gets the Chrome trace.

    What runs between the modules (additions, functional calls, the hooks themselves) is the entry
    "outside of layers". ``total_ms`` is by the wall, so on CUDA it holds the time in which the GPU waits as well.
    """
    if workload.runtime != EAGER:
        raise MeasurementError(f"{workload.runtime} has its layers fused into one; profile the runtime {EAGER} instead")
    if runs < 1:
        raise MeasurementError(f"{runs} runs show nothing; profile 1 or more")
    session = TorchSession(workload, threads, batch)
    work = observe(session)
    unprofiled_ms = plain_ms(session, runs)
    recorded = record(session, runs, trace_to)
    found = layer_profile(work, recorded, runs, on_gpu=session.device.type == "cuda")
    return replace(found, unprofiled_ms=unprofiled_ms)


def plain_ms(session: Session, runs: int) -> float:
    warm_up(session.run, 0.3, 3)
    with collector_off():
        return median(collect(session.run, 0, runs, runs)) / 1e6


def leaves(network: nn.Module) -> dict[str, nn.Module]:
    named = {name: module for name, module in network.named_modules() if not any(True for _ in module.children())}
    return {name or type(module).__name__: module for name, module in named.items()}


def observe(session: TorchSession) -> dict[str, Work]:
    """Run one untimed inference and count each layer's work from its tensors."""
    work: dict[str, Work] = {}

    def watch(name: str, module: nn.Module) -> Any:
        def count(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            inputs, outputs = tensors((args, kwargs)), tensors(output)
            state = list(module.parameters(recurse=False)) + list(module.buffers(recurse=False))
            entry = work.setdefault(name, Work(type(module).__name__, precision(module, inputs)))
            entry.macs += macs(module, inputs, outputs)
            entry.bytes += sum(tensor.numel() * tensor.element_size() for tensor in (*inputs, *state, *outputs))

        return module.register_forward_hook(count, with_kwargs=True)

    handles = [watch(name, module) for name, module in leaves(session.network).items()]
    try:
        session.run()
    finally:
        for handle in handles:
            handle.remove()
    return work


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def precision(module: nn.Module, inputs: list[Tensor]) -> str:
    weights = [weight for weight in module.parameters(recurse=False) if weight.is_floating_point()]
    return str((weights or inputs)[0].dtype).removeprefix("torch.") if weights or inputs else ""


def macs(module: nn.Module, inputs: list[Tensor], outputs: list[Tensor]) -> int:
    """Return the multiply-accumulates of one call; of a convolution with those that fall on its padding."""
    if isinstance(module, CONVOLUTIONS):
        return outputs[0].numel() * module.weight[0].numel()
    if isinstance(module, TRANSPOSED):
        return inputs[0].numel() * module.weight[0].numel()
    if isinstance(module, nn.Linear):
        return outputs[0].numel() * module.in_features
    return 0


@contextmanager
def ranges(network: nn.Module) -> Iterator[None]:
    """Record each leaf module's name in the trace, from before its forward to after it."""
    handles, open_ranges = [], {}

    def enter(name: str) -> Any:
        def hook(*_: Any) -> None:
            open_ranges[name] = record_function(name)
            open_ranges[name].__enter__()

        return hook

    def leave(name: str) -> Any:
        def hook(*_: Any) -> None:
            open_ranges.pop(name).__exit__(None, None, None)

        return hook

    for name, module in leaves(network).items():
        handles.append(module.register_forward_pre_hook(enter(name)))
        handles.append(module.register_forward_hook(leave(name), always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def without_log() -> Iterator[None]:
    """Silence Kineto, which reports its start and a missing GPU on the file descriptor, past ``sys.stderr``."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def record(session: TorchSession, runs: int, trace_to: Path | None) -> list[Any]:
    """Return the ranges of ``runs`` inferences; the first, in which the profiler itself starts, is left out."""
    activities = [ProfilerActivity.CPU]
    if session.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with ranges(session.network), without_log(), torch.profiler.profile(activities=activities) as profiler:
        for _ in range(runs + 1):
            with record_function(WHOLE):
                session.run()
    if trace_to is not None:
        make_folder(trace_to.parent)
        with storage(trace_to):
            profiler.export_chrome_trace(str(trace_to))
    found = [event for event in profiler.events() or [] if event.device_type == DeviceType.CPU]
    started = sorted(event.time_range.start for event in found if event.name == WHOLE)
    return [event for event in found if event.is_user_annotation and event.time_range.start >= started[1]]


def layer_profile(work: dict[str, Work], events: list[Any], runs: int, on_gpu: bool) -> LayerProfile:
    whole = sorted((event for event in events if event.name == WHOLE), key=lambda event: event.time_range.start)
    starts = [event.time_range.start for event in whole]
    times: dict[str, list[float]] = defaultdict(lambda: [0.0] * runs)
    for event in events:
        if event.name in work:
            times[event.name][bisect_right(starts, event.time_range.start) - 1] += busy_ms(event, on_gpu)
    inside = [sum(times[name][run] for name in work) for run in range(runs)]
    rest = [max(0.0, busy_ms(event, on_gpu) - spent) for event, spent in zip(whole, inside, strict=True)]
    layers = [LayerTime(name, w.op, median(times[name]), w.macs, w.bytes, w.precision) for name, w in work.items()]
    layers.append(LayerTime(REMAINDER, "", median(rest), 0, 0, ""))
    return LayerProfile(tuple(layers), median(event.time_range.elapsed_us() / 1e3 for event in whole), runs)


def busy_ms(event: Any, on_gpu: bool) -> float:
    return float(event.device_time_total if on_gpu else event.time_range.elapsed_us()) / 1e3
