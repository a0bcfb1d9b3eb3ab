"""The table of layer latencies of a machine."""

from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext

import numpy as np

from edgekd.bench.target import LocalTarget, TimingTarget
from edgekd.errors import MeasurementError
from edgekd.progress import long_step
from edgekd.prune.latency.kernels import Setting, batches_of, kernel_times, profiler_overhead
from edgekd.prune.latency.layer import Layer
from edgekd.prune.latency.store import ReadingStore
from edgekd.runtime import DEFAULT

PRECISIONS = ("float32", "int8")
ARM = ("aarch64", "arm64")
# So many are timed before anybody misses a word of it.
FEW = 10
# No kernel takes less, whatever the clock resolves.
LEAST_MS = 1e-4

Progress = Callable[[int, int], None]


class LatencyTable:
    """Latencies of layers in a runtime on a machine: ``table[layer]`` is milliseconds in one inference.

    A latency is that of the layer's kernel alone, as it runs within a network at batch 1, without the runtime's work
    between layers. All are at one speed of the machine, its best while it was measured: a reference layer is timed with
    every few layers, and only the ratio to it counts. Readings are stored in the user's cache.

    Args:
        precision: ``float32``; or ``int8``: 8-bit activations, and 8-bit weights per channel.
        threads: threads of the runtime.
        fresh: ignore earlier readings, and measure again.
        target: the machine that measures; this one if left out.
        runtime: what runs the layers there; one that records kernels.

    Raises:
        MeasurementError: another precision, or no threads.
    """

    def __init__(
        self,
        precision: str = "float32",
        threads: int = 1,
        fresh: bool = False,
        target: TimingTarget | None = None,
        runtime: str = DEFAULT,
    ):
        if precision not in PRECISIONS:
            raise MeasurementError(f"no layer times at precision {precision!r}; known: {', '.join(PRECISIONS)}")
        if threads < 1:
            raise MeasurementError(f"{threads} threads cannot run anything; give 1 or more")
        # Profiles of Arm have int8 activations, those of x86 uint8.
        target = target or LocalTarget()
        codes = np.int8 if target.architecture in ARM else np.uint8
        self.setting = Setting(precision, threads, codes, target, runtime)
        self._store = ReadingStore(precision, target.facts(threads), runtime, fresh=fresh)

    def __contains__(self, layer: Layer) -> bool:
        return all(str(each) in self._store.multiples for each in layer.each_call())

    def __getitem__(self, layer: Layer) -> float:
        """Return the milliseconds of ``layer`` in one inference, all its calls together.

        Raises:
            MeasurementError: it was not measured.
        """
        if layer not in self:
            raise MeasurementError(f"no time is known of the layer {layer}: call measure with it first")
        return sum(self.at_best(self._store.multiples[str(each)]) for each in layer.each_call())

    def at_best(self, multiple: float) -> float:
        """Return the milliseconds of a kernel at the machine's best speed.

        Args:
            multiple: its reading over the reference layer's.

        Raises:
            MeasurementError: the table is empty.
        """
        store = self._store
        if store.reference_ms is None or store.overhead is None:
            raise MeasurementError("the table is empty: call measure with some layers first")
        return max((multiple - store.overhead) * store.reference_ms, LEAST_MS)

    def measure(self, layers: Iterable[Layer], progress: Progress | None = None) -> int:
        """Measure those of ``layers`` that are missing, and return their number.

        A layer that is called at two sizes counts as two.

        Args:
            progress: called after every few layers with the number done and the number of all that were missing.

        Raises:
            MeasurementError: the runtime does not load or run one of them.
        """
        missing = self._missing(layers)
        if missing and self._store.overhead is None:
            self._store.overhead = profiler_overhead(self.setting)
        done = 0
        with long_step("times of layers", len(missing), "layers") if len(missing) > FEW else nullcontext() as shown:
            for batch in batches_of(missing):
                times = kernel_times(batch, self.setting)
                self._store.add(times.multiples, times.reference_ms)
                self._store.save()
                done += len(batch)
                if shown is not None:
                    shown(done)
                if progress is not None:
                    progress(done, len(missing))
        return done

    def _missing(self, layers: Iterable[Layer]) -> Collection[Layer]:
        wanted = dict.fromkeys(each for layer in layers for each in layer.each_call())
        return [layer for layer in wanted if layer not in self]
