"""The rates that this machine reaches at best: multiply-accumulates by precision, bytes by working set.

The cache-aware roofline of Ilic, Pratas and Sousa (2014): every level of memory has a bandwidth of its own, and a
layer is held against that of the smallest level that its data fits in.
"""

from bisect import bisect_left
from dataclasses import dataclass
from math import exp, log
from typing import Any

CONVERSIONS = {"float16": "float32", "bfloat16": "float32"}  # what a CPU without kernels for it computes in


@dataclass(frozen=True)
class Roofs:
    """Rates measured with ``threads`` threads.

    ``peak`` is in GMAC/s by precision; ``bandwidth`` pairs a working set in bytes with GB/s, read and written;
    ``busy`` is the share of the machine that others took meanwhile.
    """

    threads: int
    peak: dict[str, float]
    bandwidth: tuple[tuple[int, float], ...]
    busy: float = 0.0

    def peak_of(self, precision: str) -> float:
        """Return GMAC/s at ``precision``, or at the one that the CPU converts it to."""
        return self.peak.get(precision) or self.peak[CONVERSIONS.get(precision, "float32")]

    def bandwidth_at(self, working_set: float) -> float:
        """Return GB/s at ``working_set`` bytes.

        Between two measured sizes it is linear on logarithmic axes, and constant beyond the smallest and the largest.
        """
        sizes = [size for size, _ in self.bandwidth]
        rates = [rate for _, rate in self.bandwidth]
        after = bisect_left(sizes, working_set)
        if after in (0, len(sizes)):
            return rates[min(after, len(sizes) - 1)]
        share = log(working_set / sizes[after - 1]) / log(sizes[after] / sizes[after - 1])
        return exp((1 - share) * log(rates[after - 1]) + share * log(rates[after]))

    def limit_ms(
        self, macs: int, nbytes: int, precision: str, weight_bytes: int = 0, all_weights: int = 0
    ) -> tuple[float, str]:
        """Return the least time for this work, and whether ``compute`` or ``memory`` sets it.

        A layer's weights are read once an inference. Until the next, those of all the others have gone through the
        caches, so that they come from where ``all_weights`` fit.
        """
        compute = macs / self.peak_of(precision) / 1e6
        activations = (nbytes - weight_bytes) / self.bandwidth_at(nbytes)
        weights = weight_bytes / self.bandwidth_at(max(nbytes, all_weights))
        memory = (activations + weights) / 1e6
        return (compute, "compute") if compute >= memory else (memory, "memory")

    def to_json(self) -> dict[str, Any]:
        pairs = [list(pair) for pair in self.bandwidth]
        return {"threads": self.threads, "peak": self.peak, "bandwidth": pairs, "busy": self.busy}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Roofs":
        pairs = tuple((int(size), float(rate)) for size, rate in document["bandwidth"])
        peak = {str(precision): float(rate) for precision, rate in document["peak"].items()}
        return cls(int(document["threads"]), {**peak, "float32": peak["float32"]}, pairs, float(document["busy"]))


def measure_roofs(threads: int = 1) -> Roofs:
    """Measure products and copies in this process for some seconds; it should be pinned to ``threads`` CPUs."""
    from edgekd.agent.cpus import Neighbours
    from edgekd.bench.environment import share_of
    from edgekd.bench.profile.bandwidth import measure_bandwidth
    from edgekd.runtime import DEFAULT, RUNTIMES

    neighbours = Neighbours()
    peaks = RUNTIMES[DEFAULT].part("peak").measure_peaks(threads)
    bandwidth = measure_bandwidth(threads)
    return Roofs(threads, peaks, bandwidth, share_of(neighbours.taken()))
