"""Times of many layers at once, as multiples of a reference layer's."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np

from edgekd.bench.runtimes.onnxruntime.join import is_weighted
from edgekd.bench.runtimes.onnxruntime.turns import Turns
from edgekd.bench.target import LocalTarget, TimingTarget
from edgekd.errors import MeasurementError
from edgekd.files import temporary_folder
from edgekd.prune.latency.branches import PREFIX, branches
from edgekd.prune.latency.layer import Layer
from edgekd.prune.latency.readings import Reading, readings

# One of ResNet's, of some 0.1 ms: the machine's speed is that of this layer, which is timed with all others.
REFERENCE = Layer("conv", 64, 64, ((14, 14),), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), activation=True)
COPIES = 3
# Of one model: layers, weights and multiply-accumulates.
MOST_LAYERS, MOST_WEIGHTS, MOST_MACS = 32, 16e6, 1e9
WARMUP_RUNS, MIN_RUNS, MAX_RUNS, SECONDS = 2, 15, 60, 0.15
NAME = re.compile(rf"{PREFIX}(\d+)/")


@dataclass(frozen=True)
class Setting:
    """What all times of a table have in common."""

    precision: str
    threads: int
    codes: type[np.uint8 | np.int8]
    target: TimingTarget = field(default_factory=LocalTarget)

    @contextmanager
    def files(self, models: Mapping[str, Sequence[Layer]]) -> Iterator[dict[str, Path]]:
        """Each with these layers side by side."""
        with temporary_folder() as folder:
            paths = {name: folder / f"{name}.onnx" for name in models}
            for name, layers in models.items():
                paths[name].write_bytes(branches(layers, self.precision, self.codes).SerializeToString())
            yield paths


@dataclass(frozen=True)
class KernelTimes:
    """Readings of layers as multiples of the reference layer's, and the milliseconds of that."""

    multiples: dict[str, float]
    reference_ms: float


def batches_of(layers: Collection[Layer]) -> Iterator[list[Layer]]:
    """Layers for one model, alike in work: the small ones are run oftener."""
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
    """Times each of ``layers``, which have one size each, in one model.

    Raises:
        MeasurementError: ONNX Runtime does not load or run them, or computes one of them by other kernels.
    """
    with setting.files({"layers": [*layers, *[REFERENCE] * COPIES]}) as files:
        turns = Turns(files, ["layers"], files, setting.threads, WARMUP_RUNS, MIN_RUNS, MAX_RUNS, SECONDS)
        taken = setting.target.turns(turns)
    read = by_layer(readings(taken, turns, "layers"))
    missing = [layer for index, layer in enumerate(layers) if index not in read]
    if missing:
        raise MeasurementError(
            f"ONNX Runtime's profile shows no kernel for the layer {missing[0]}: leave it out, and please report it"
        )
    reference_ms = float(np.mean([read[len(layers) + copy] for copy in range(COPIES)]))
    return KernelTimes({str(layer): read[index] / reference_ms for index, layer in enumerate(layers)}, reference_ms)


def by_layer(readings: Sequence[Reading]) -> dict[int, float]:
    """Milliseconds of the kernels that compute a product, by the place of their layer."""
    named = ((NAME.match(reading.name), reading) for reading in readings if is_weighted(reading.op))
    return {int(name[1]): reading.ms for name, reading in named if name}
