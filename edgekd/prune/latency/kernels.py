"""Kernel times of many layers at once, as multiples of a reference layer's."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np

from edgekd.bench.interleaved import InterleavedRuns
from edgekd.bench.profile.trace import is_weighted
from edgekd.bench.quiet_moment import interleave_when_quiet
from edgekd.bench.target import LocalTarget, TimingTarget
from edgekd.errors import MeasurementError
from edgekd.files import temporary_folder
from edgekd.prune.latency.branches import PREFIX, branches
from edgekd.prune.latency.layer import Layer
from edgekd.prune.latency.readings import Reading, fast_mean, readings
from edgekd.runtime import DEFAULT

# A layer of ResNet, of some 0.1 ms. It is timed with all others and stands for the machine's speed.
REFERENCE = Layer("conv", 64, 64, ((14, 14),), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), activation=True)
COPIES = 3
# The most layers, weights and multiply-accumulates of one model.
MOST_LAYERS, MOST_WEIGHTS, MOST_MACS = 32, 16e6, 1e9
WARMUP_RUNS, MIN_RUNS, MAX_RUNS, SECONDS = 2, 15, 60, 0.15
# ONNX Runtime calls a Gemm that it fuses with what follows "fused" and its name.
NAME = re.compile(rf"(?:fused )?{PREFIX}(\d+)/")
# The small layers whose time shows the profiler's overhead.
SMALL = Layer("conv", 16, 16, ((4, 4),), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), activation=True)
SMALL_LAYERS, SMALL_RUNS, SMALL_WARMUP = 32, 40, 10
# The other models take its weights out of the cache: the second of its own inferences counts.
ORDER = ("reference", "small", "plain", "plain")


@dataclass(frozen=True)
class Setting:
    """The setting that all times of a table share."""

    precision: str
    threads: int
    codes: type[np.uint8 | np.int8]
    target: TimingTarget = field(default_factory=LocalTarget)
    runtime: str = DEFAULT

    @contextmanager
    def files(self, models: Mapping[str, Sequence[Layer]]) -> Iterator[dict[str, Path]]:
        """Write an ONNX file for each of ``models``, one branch for each layer, and yield the paths."""
        with temporary_folder() as folder:
            paths = {name: folder / f"{name}.onnx" for name in models}
            for name, layers in models.items():
                paths[name].write_bytes(branches(layers, self.precision, self.codes).SerializeToString())
            yield paths


@dataclass(frozen=True)
class KernelTimes:
    """Readings of layers as multiples of the reference layer's, and the reference's milliseconds."""

    multiples: dict[str, float]
    reference_ms: float


def batches_of(layers: Collection[Layer]) -> Iterator[list[Layer]]:
    """Yield the layers of one model at a time, similar in work, since small ones are run more often."""
    batch: list[Layer] = []
    weights = macs = 0
    for layer in sorted(layers, key=lambda each: (each.macs, str(each))):
        size = prod(layer.weight_shape)
        full = len(batch) == MOST_LAYERS or weights + size > MOST_WEIGHTS or macs + layer.macs > MOST_MACS
        if batch and full:
            yield batch
            batch, weights, macs = [], 0, 0
        batch.append(layer)
        weights, macs = weights + size, macs + layer.macs
    if batch:
        yield batch


def kernel_times(layers: Sequence[Layer], setting: Setting) -> KernelTimes:
    """Time each of ``layers``, which have one size each, in one model.

    Raises:
        MeasurementError: the runtime does not load or run them, or uses other kernels for one of them.
    """
    with setting.files({"layers": [*layers, *[REFERENCE] * COPIES]}) as files:
        turns = InterleavedRuns(
            files, ["layers"], files, setting.threads, WARMUP_RUNS, MIN_RUNS, MAX_RUNS, SECONDS, runtime=setting.runtime
        )
        taken = interleave_when_quiet(setting.target.interleave, turns)
    read = by_layer(readings(taken, turns, "layers"))
    missing = [layer for index, layer in enumerate(layers) if index not in read]
    if missing:
        raise MeasurementError(
            f"the runtime's profile shows no kernel for the layer {missing[0]}: leave it out, and please report it"
        )
    reference_ms = float(np.mean([read[len(layers) + copy] for copy in range(COPIES)]))
    return KernelTimes({str(layer): read[index] / reference_ms for index, layer in enumerate(layers)}, reference_ms)


def by_layer(readings: Sequence[Reading]) -> dict[int, float]:
    """Return the milliseconds of the kernels of convolutions and matrix products, by the index of their layer."""
    named = ((NAME.match(reading.name), reading) for reading in readings if is_weighted(reading.op))
    return {int(name[1]): reading.ms for name, reading in named if name}


def profiler_overhead(setting: Setting) -> float:
    """Measure what the runtime's profiler adds to each kernel, as a multiple of the reference layer's reading.

    It is some microseconds, as long as a small layer: how far the kernels of small layers together exceed an
    inference without the profiler, for each kernel.
    """
    with setting.files({"small": [SMALL] * SMALL_LAYERS, "reference": [REFERENCE]}) as files:
        models = {**files, "plain": files["small"]}
        turns = InterleavedRuns(
            models, ORDER, files, setting.threads, SMALL_WARMUP, SMALL_RUNS, SMALL_RUNS, runtime=setting.runtime
        )
        taken = interleave_when_quiet(setting.target.interleave, turns)
    kernels = readings(taken, turns, "small")
    reference_ms = by_layer(readings(taken, turns, "reference"))[0]
    plain_ms = fast_mean(taken.times_ns[:, -1]) / 1e6
    excess_ms = (sum(kernel.ms for kernel in kernels) - plain_ms) / len(kernels)
    return max(excess_ms, 0.0) / reference_ms
