"""edgekd's clock beside others on the same networks: a loop by hand, OpenVINO's benchmark_app, PyTorch's Timer.

    python benchmarks/harness/against_others.py --json benchmarks/results/harness/against_others.json

The two of a pair take turns on one CPU in random order, in processes that are started anew for every launch;
benchmark_app starts anew for every turn. A round's ratio is edgekd's median over the other's.

benchmark_app's figure is taken below OpenVINO's Python binding, edgekd's is what the caller waits for. The difference,
some ten microseconds, is measured apart and stands in the table; it is not taken off.
"""

import json
import math
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from common import finish, goal, options, say
from harness.small_networks import NETWORKS, shape, write_onnx
from rich.console import Console
from rich.table import Table

from edgekd.agent.cpus import quietest
from edgekd.bench.plan import Workload
from edgekd.formatting import ABSENT
from edgekd.stats.percentiles import Interval
from edgekd.stats.ratios import ratio_over_launches

HERE = Path(__file__).parent
BENCHMARK_APP = "benchmark_app"
# Many short turns, since the machine changes its speed for seconds at a time; benchmark_app takes whole seconds.
# Two loadings of one file differ too, but those of PyTorch take seconds.
PAIRS: dict[str, dict[str, Any]] = {
    "ONNX Runtime": {"tools": ("edgekd onnxruntime", "bare loop"), "sittings": 8, "rounds": 40, "seconds": 0.03},
    "OpenVINO": {"tools": ("edgekd openvino", BENCHMARK_APP), "sittings": 8, "rounds": 2, "seconds": 1},
    "PyTorch": {"tools": ("edgekd pytorch", "torch.utils.benchmark"), "sittings": 6, "rounds": 12, "seconds": 0.06},
}
QUICK_LAUNCHES = 2
BOUND = 0.03

Clock = Callable[[float], tuple[float, int]]
Turn = dict[str, dict[str, float]]


class Resident:
    """A tool of ``tools.py``, alive for a launch."""

    def __init__(self, name: str, network: str, model: Path):
        command = [sys.executable, str(HERE / "tools.py"), name, network, str(model)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._name = name
        self._line()

    def __enter__(self) -> Clock:
        return self.turn

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def turn(self, seconds: float) -> tuple[float, int]:
        assert self._process.stdin is not None
        print(seconds, file=self._process.stdin, flush=True)
        median, runs = json.loads(self._line())
        return median, runs

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return line or sys.exit(f"{self._name} ended with {self._process.wait()}")


class BenchmarkApp:
    """OpenVINO's own program, a process for each turn."""

    def __init__(self, name: str, network: str, model: Path):
        dims = ",".join(map(str, (1, *shape(network))))
        picture = model.with_suffix(".npy")
        np.save(picture, np.random.default_rng(0).random((1, *shape(network)), dtype=np.float32))
        # Without -ip it would take a picture's bytes and convert them within the timed call.
        self._command = [
            *(str(Path(sys.executable).with_name(name)), "-m", str(model), "-d", "CPU", "-shape", f"[{dims}]"),
            *("-api", "sync", "-nireq", "1", "-nstreams", "1", "-nthreads", "1", "-hint", "none"),
            *("-infer_precision", "f32", "-ip", "f32", "-i", str(picture)),
        ]

    def __enter__(self) -> Clock:
        return self.turn

    def __exit__(self, *_: object) -> None:
        pass

    def turn(self, seconds: float) -> tuple[float, int]:
        said = subprocess.run([*self._command, "-t", str(seconds)], capture_output=True, text=True, check=True).stdout
        median, runs = re.search(r"Median: +([\d.]+) (us|ms)", said), re.search(r"Count: +(\d+)", said)
        if median is None or runs is None:
            sys.exit(f"{BENCHMARK_APP} gave no median:\n{said}")
        return float(median[1]) * {"us": 1e3, "ms": 1e6}[median[2]], int(runs[1])


def run_launch(pair: dict[str, Any], network: str, model: Path, order: random.Random) -> list[Turn]:
    """Rounds of one turn of each tool, in random order."""
    tools = list(pair["tools"])
    with ExitStack() as stack:
        kinds = {name: BenchmarkApp if name == BENCHMARK_APP else Resident for name in tools}
        clocks = {name: stack.enter_context(kinds[name](name, network, model)) for name in tools}
        return [one_round(clocks, order.sample(tools, len(tools)), pair["seconds"]) for _ in range(pair["rounds"])]


def one_round(clocks: dict[str, Clock], tools: list[str], seconds: float) -> Turn:
    turns = {}
    for name in tools:
        median, runs = clocks[name](seconds)
        turns[name] = {"median_ns": median, "runs": runs}
    return turns


def ratio(launches: list[list[Turn]], tools: tuple[str, str]) -> tuple[float, Interval | None]:
    ours, theirs = ([[[turn[name]["median_ns"]] for turn in rounds] for rounds in launches] for name in tools)
    return ratio_over_launches(ours, theirs)


def compare(quick: bool, folder: Path) -> list[dict[str, Any]]:
    models = {network: write_onnx(network, folder) for network in NETWORKS}
    present = [pair for pair in PAIRS if pair != "OpenVINO" or find_spec("openvino")]
    order, cases = random.Random(0), [(pair, network) for pair in present for network in NETWORKS]
    taken: dict[tuple[str, str], list[list[Turn]]] = {case: [] for case in cases}
    for launch in range(QUICK_LAUNCHES if quick else max(pair["sittings"] for pair in PAIRS.values())):
        say(f"launch {launch + 1}")
        wanted = [case for case in cases if launch < PAIRS[case[0]]["sittings"]]
        for pair, network in order.sample(wanted, len(wanted)):
            taken[pair, network].append(run_launch(PAIRS[pair], network, models[network], order))
    rows = [row(pair, network, launches) for (pair, network), launches in taken.items()]
    for entry in rows:
        if entry["runtime"] == "OpenVINO":
            entry["binding_ns"] = binding_ns(entry["network"], models[entry["network"]])
    return rows


def binding_ns(network: str, model: Path) -> float:
    from harness.openvino_session import OpenVinoSession

    session = OpenVinoSession(Workload(str(model), "openvino", shape=(1, *shape(network))))
    session.binding_ns(50)
    return session.binding_ns()


def row(pair: str, network: str, launches: list[list[Turn]]) -> dict[str, Any]:
    tools = PAIRS[pair]["tools"]
    value, interval = ratio(launches, tools)
    return {
        **{"runtime": pair, "network": network, "shape": [1, *shape(network)], "tools": tools},
        **{"sittings": launches, "ratio": value, "ci95": interval},
    }


def show(rows: list[dict[str, Any]]) -> None:
    table = Table("Runtime", "Network", "edgekd ms", "Other", "Other ms", "Ratio", "95 %", "Binding")
    for entry in rows:
        turns = [turn for rounds in entry["sittings"] for turn in rounds]
        ours, theirs = (sorted(turn[name]["median_ns"] / 1e6 for turn in turns) for name in entry["tools"])
        middle = len(turns) // 2
        table.add_row(
            *(entry["runtime"], entry["network"], f"{ours[middle]:.4f}", entry["tools"][1], f"{theirs[middle]:.4f}"),
            *(f"{entry['ratio']:.4f}", "{:.4f}–{:.4f}".format(*entry["ci95"]) if entry["ci95"] else ABSENT),
            f"{entry['binding_ns'] / (theirs[middle] * 1e6):.1%}" if "binding_ns" in entry else "",
        )
    Console(width=120).print(table)


def main() -> None:
    arguments = options(__doc__)
    cpu = quietest(1)
    os.sched_setaffinity(0, cpu)
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(dir=arguments.out) as folder:
        rows = compare(arguments.quick, Path(folder))
    show(rows)
    absent = [pair for pair in PAIRS if pair not in {entry["runtime"] for entry in rows}]
    if absent:
        say(f"absent: {', '.join(absent)}; pip install edgekd[bench] brings it")
    goals = [
        goal(f"{entry['runtime']}, {entry['network']}: off by", BOUND, abs(entry["ratio"] - 1), at_most=True)
        for entry in rows
    ]
    width = max((math.log(entry["ci95"][1] / entry["ci95"][0]) for entry in rows if entry["ci95"]), default=None)
    finish(arguments, {"cpu": cpu, "absent": absent, "rows": rows, "widest_interval": width}, goals)


if __name__ == "__main__":
    main()
