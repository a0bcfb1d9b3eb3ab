"""PyTorch on a GPU, three ways: eager, compiled, and replayed as one CUDA graph, with the transfers apart.

python benchmarks/gpu.py --json benchmarks/results/gpu.json
python benchmarks/gpu.py --networks resnet18 --precisions float16 --json part.json    (a ninth of it)
python benchmarks/gpu.py --device cpu --quick                            (the same code where there is no GPU)
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import finish, goal, options, say
from networks import resnet18
from rich.console import Console
from rich.table import Table
from torch.utils.benchmark import Timer

from edgekd.bench.clock import collect
from edgekd.bench.plan import Plan, Workload
from edgekd.bench.runner import measure
from edgekd.errors import MeasurementError
from edgekd.runtimes.pytorch.session import TorchSession
from edgekd.stats.ratios import ratio_of_medians

NETWORKS = Path(__file__).with_name("networks.py")
RUNTIMES = {"eager": "pytorch", "compiled": "pytorch-compiled", "cudagraph": "pytorch-cudagraph"}
PRECISIONS = ("float32", "float16", "bfloat16")
FOR_ALL = 900


def plans(names: list[str], precisions: list[str], device: str, quick: bool) -> dict[str, Plan]:
    """One for each network, precision and batch, in which the runtimes take turns."""
    pixels, batches = (64, (1,)) if quick else (224, (1, 64))
    runtimes = {name: runtime for name, runtime in RUNTIMES.items() if device == "cuda" or name != "cudagraph"}
    made: dict[str, Plan] = {}
    for name in names[:1] if quick else names:
        for precision in precisions[:1] if quick else precisions:
            shape = (1, 3, pixels, pixels)
            workloads = {
                way: Workload(f"{NETWORKS}:{name}", runtime, device, shape, precision)
                for way, runtime in runtimes.items()
            }
            plan = Plan(workloads, "eager", seconds=0.8, max_seconds=0.8, launches=6)
            made |= {f"{name} {precision} batch {batch}": replace(plan, batch=batch) for batch in batches}
    return made


def figures_of(plan: Plan) -> dict[str, Any]:
    try:
        return {name: record.to_json() for name, record in measure(plan, FOR_ALL).items()}
    except MeasurementError as error:
        return {"error": str(error)}


def against_timer(device: str, quick: bool, rounds: int = 40, runs: int = 10) -> dict[str, Any]:
    """Our eager figure beside that of torch.utils.benchmark, in turns: means of ``runs`` calls, in milliseconds."""
    pixels = 64 if quick else 224
    session = TorchSession.of(resnet18(), (1, 3, pixels, pixels), device=device)
    names = {"network": session.network, "inputs": session.inputs, "torch": torch}
    timer = Timer("with torch.inference_mode(): network(*inputs)", globals=names, num_threads=1)
    ways = {
        "edgekd": lambda: float(np.mean(collect(session.run, 0, runs, runs))) / 1e6,
        "timer": lambda: timer.timeit(runs).mean * 1e3,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    order = np.random.default_rng(0)
    for way in (*ways.values(), *ways.values()):
        way()
    for _ in range(rounds):
        for name in order.permutation(list(ways)):
            times[name].append(ways[name]())
    return times


def distance(times: dict[str, list[float]]) -> float:
    """How far the two are apart, as a share of the peer's figure."""
    ours, theirs = ([np.array([figure]) for figure in times[name]] for name in ("edgekd", "timer"))
    ratio, _ = ratio_of_medians(ours, theirs)
    return abs(ratio - 1)


def table(rows: dict[str, Any]) -> Table:
    shown = Table("Network", "Runtime", "p50 ms", "Times faster", "Copy in ms", "Copy out ms")
    for row, records in rows.items():
        for way, record in records.items() if "error" not in records else ():
            ratio = (record.get("latency_vs_reference") or {}).get("ratio")
            copies = [(record.get("transfers_ms") or {}).get(key, {}).get("p50") for key in ("in", "out")]
            figures = (record["latency_ms"]["p50"], 1 / ratio if ratio else None, *copies)
            shown.add_row(row, way, *("–" if figure is None else f"{figure:.3g}" for figure in figures))
    return shown


def ratios(rows: dict[str, Any], way: str, ending: str) -> list[float]:
    """Times over eager's of ``way`` in the rows that end so, where they were measured."""
    found = [records[way] for row, records in rows.items() if row.endswith(ending) and way in records]
    return [record["latency_vs_reference"]["ratio"] for record in found if "latency_vs_reference" in record]


def goals_of(rows: dict[str, Any], peer: dict[str, Any], device: str) -> list[dict[str, Any]]:
    goals = [
        goal("rows measured", len(rows), sum("error" not in records for records in rows.values())),
        goal("eager beside torch.utils.benchmark, share apart", 0.03, distance(peer), at_most=True),
    ]
    if found := ratios(rows, "cudagraph", "batch 1") if device == "cuda" else []:
        goals.append(goal("CUDA graph over eager at batch 1, at worst", 1.0, max(found), at_most=True))
    return goals


def main() -> None:
    names = ["resnet18", "resnet50", "mobilenet_v2"]
    arguments = options(
        __doc__,
        device={"choices": ["cuda", "cpu"], "default": "cuda", "help": "cpu only shows that the code runs"},
        networks={"choices": names, "default": names, "nargs": "+", "help": "all by default"},
        precisions={"choices": PRECISIONS, "default": list(PRECISIONS), "nargs": "+", "help": "all by default"},
    )
    if arguments.device == "cuda" and not torch.cuda.is_available():
        say(f"PyTorch {torch.__version__} finds no GPU here; give --device cpu --quick to try the code")
        sys.exit(1)
    rows = {}
    for name, plan in plans(arguments.networks, arguments.precisions, arguments.device, arguments.quick).items():
        say(name)
        rows[name] = figures_of(plan)
        if "error" in rows[name]:
            say(f"  not measured: {rows[name]['error']}")
    peer = against_timer(arguments.device, arguments.quick)
    Console().print(table(rows))
    finish(arguments, {"rows": rows, "peer_ms": peer}, goals_of(rows, peer, arguments.device))


if __name__ == "__main__":
    main()
