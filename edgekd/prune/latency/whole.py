"""The time of a whole network at the speed of the machine that a table's times are at."""

from pathlib import Path

from edgekd.bench.runtimes.onnxruntime.turns import Turns
from edgekd.prune.latency.kernels import COPIES, REFERENCE, by_layer
from edgekd.prune.latency.readings import readings
from edgekd.prune.latency.table import LatencyTable

# The reference layer takes the network's weights out of the cache: the first run after it is slower.
TURN, WARMUP_TURNS, MIN_TURNS, MAX_TURNS = 4, 2, 6, 58


def network_ms(path: Path | str, table: LatencyTable, seconds: float = 1.5) -> float:
    """Milliseconds of all kernels in one inference of the ONNX file at ``path``, to go with the layers of ``table``.

    They are timed in turns with the table's reference layer. So it is not what a clock shows where the machine is
    slower now than at its best; :func:`edgekd.bench.measure` gives that.

    Args:
        seconds: at most, but a few inferences at least.

    Raises:
        MeasurementError: the file does not load or run, or the table is empty.
    """
    setting, order = table.setting, ["network"] * TURN + ["reference"]
    with setting.files({"reference": [REFERENCE] * COPIES}) as files:
        models = {**files, "network": Path(path)}
        turns = Turns(models, order, models, setting.threads, WARMUP_TURNS, MIN_TURNS, MAX_TURNS, seconds)
        taken = setting.target.turns(turns)
    kernels = readings(taken, turns, "network")
    reference_ms = sum(by_layer(readings(taken, turns, "reference")).values()) / COPIES
    return sum(table.at_best(kernel.ms / reference_ms) for kernel in kernels)
