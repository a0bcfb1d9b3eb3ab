"""The time of a whole network at the speed of the machine that a table's times are at."""

from pathlib import Path
from time import perf_counter_ns

from edgekd.bench.clock import collect, collector_off
from edgekd.prune.latency.kernels import COPIES, REFERENCE, by_layer
from edgekd.prune.latency.recorder import Recorder
from edgekd.prune.latency.table import LatencyTable

# The reference layer takes the network's weights out of the cache: the first run after it is slower.
TURN, WARMUP_TURNS, MIN_TURNS, MAX_TURNS = 4, 2, 8, 60


def network_ms(path: Path | str, table: LatencyTable, seconds: float = 1.5) -> float:
    """Milliseconds of all kernels in one inference of the ONNX file at ``path``, to go with the layers of ``table``.

    They are timed in turns with the table's reference layer. So it is not what a clock shows where the machine is
    slower now than at its best; :func:`edgekd.bench.measure` gives that.

    Args:
        seconds: at most, but a few inferences at least.

    Raises:
        MeasurementError: the file does not load or run, or the table is empty.
    """
    threads = table.setting.threads
    with Recorder(Path(path), threads) as network, table.setting.record([REFERENCE] * COPIES) as reference:
        turns, deadline = 0, perf_counter_ns() + round(seconds * 1e9)
        with collector_off():
            while turns < MIN_TURNS or (perf_counter_ns() < deadline and turns < MAX_TURNS):
                collect(network.run, 0, TURN)
                reference.run()
                turns += 1
        counted = turns - WARMUP_TURNS
        kernels = network.readings(TURN * counted)
        reference_ms = sum(by_layer(reference.readings(counted)).values()) / COPIES
    return sum(table.at_best(kernel.ms / reference_ms) for kernel in kernels)
