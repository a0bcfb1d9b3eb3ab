"""Half of the measured latency: networks pruned to it, and what table and clock say of the result.

    python benchmarks/prune_latency.py --json benchmarks/results/prune_latency.json
    python benchmarks/prune_latency.py --busy 2 --json benchmarks/results/prune_latency_busy.json

Each network is pruned to half of its latency in ONNX Runtime on this processor by ``prune_to_latency``, and its file
is then timed anew, beside the unpruned one's and in turns, for longer. Weights are random: what is asked is time.

With ``--busy N`` all of it happens beside N processes that never rest. A network then keeps to its share, or the
measurement says that it cannot be made there.
"""

import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import finish, goal, options, say
from int8_files import MEAN, STD
from neighbours import busy
from rich.console import Console
from rich.table import Table
from torch import nn

from edgekd.bench import Plan, Workload, measure
from edgekd.bench.quiet_moment import reasons, when_quiet
from edgekd.bench.validity import OTHERS_TOOK_TIME
from edgekd.errors import MeasurementError
from edgekd.export import export_onnx
from edgekd.files import make_folder, write_json
from edgekd.formatting import percent
from edgekd.models import build, count_macs
from edgekd.preprocess import Preprocess
from edgekd.prune import prune
from edgekd.prune.latency import LatencyTable
from edgekd.prune.latency_target import prune_to_latency
from edgekd.prune.prunable import Prunable
from edgekd.train.device import lay_out

ROOT = Path(__file__).parents[1]
IMAGE, SMALL = (3, 224, 224), (3, 32, 32)
NETWORKS = {
    "ResNet-18": ("torchvision/resnet18", IMAGE),
    "ResNet-50": ("torchvision/resnet50", IMAGE),
    "MobileNetV2": ("torchvision/mobilenet_v2", IMAGE),
    "RegNetY-400MF": ("torchvision/regnet_y_400mf", IMAGE),
    "ResNet-56": ("resnet56", SMALL),
}
QUICK = ("ResNet-56",)
SHARE, LEAST, SEED = 0.5, 0.44, 0
SETTINGS = {"seconds": 3.0, "max_seconds": 6.0, "launches": 8}
QUICK_SETTINGS = {"seconds": 0.6, "max_seconds": 1.2, "launches": 6}


def made(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    builder, shape = NETWORKS[name]
    torch.manual_seed(SEED)
    return lay_out(build(builder, shape, 10 if shape == SMALL else 1000).eval()), shape


def run(name: str, settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    network, shape = made(name)
    write = partial(export_onnx, preprocess=Preprocess("image", shape, MEAN, STD))
    started = time.monotonic()
    try:
        found = prune_to_latency(Prunable(network, shape), SHARE, LatencyTable("float32", 1), write)
    except MeasurementError as error:
        return {"network": name, "shape": shape, "refused": str(error)}
    seconds = time.monotonic() - started
    by_macs = prune(network, shape, macs=SHARE)
    files = {
        "whole": network,
        "by latency": found.network,
        "by MACs": by_macs.network,
    }
    for label, each in files.items():
        write(lay_out(each), folder / f"{label}.onnx")
    workloads = {label: Workload(str(folder / f"{label}.onnx")) for label in files}
    records = when_quiet(measure, Plan(workloads, "whole", **settings))
    refused = reasons(records).get(OTHERS_TOOK_TIME)
    return {
        "network": name,
        "shape": shape,
        "tried": [timing.to_json() for timing in found.tried],
        "chosen": found.timing.to_json(),
        "macs": {label: count_macs(each, shape) for label, each in files.items()},
        "ms": {label: record.latency_ms.to_json() for label, record in records.items()},
        "cost_ms": {label: record.cost_ms and record.cost_ms.to_json() for label, record in records.items()},
        "ratio": {label: records[label].to_json().get("latency_vs_reference") for label in ("by latency", "by MACs")},
        "seconds": round(seconds, 1),
        **({"refused": refused} if refused else {}),
    }


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(
        "Network", "Predicted", "Measured", "Again", "95 %", "MACs kept", "Half of the MACs takes", "Search, s"
    )
    for row in rows:
        if "refused" in row:
            say(f"{row['network']}: not measurable: {row['refused']}")
            continue
        again, plain = row["ratio"]["by latency"], row["ratio"]["by MACs"]
        table.add_row(
            row["network"],
            percent(row["chosen"]["predicted"]),
            percent(row["chosen"]["measured"]),
            percent(again["ratio"]),
            "{:.3f}–{:.3f}".format(*again["ci95"]),
            percent(row["macs"]["by latency"] / row["macs"]["whole"]),
            percent(plain["ratio"]),
            str(row["seconds"]),
        )
    Console(width=130).print(table)


def main() -> None:
    arguments = options(
        __doc__,
        only={"nargs": "+", "metavar": "NAME", "choices": NETWORKS, "help": "these networks"},
        busy={"type": int, "default": 0, "metavar": "N", "help": "beside so many processes that never rest"},
    )
    folder = make_folder(arguments.out or ROOT / "runs/prune_latency")
    rows = []
    with busy(arguments.busy):
        for name in arguments.only or (QUICK if arguments.quick else NETWORKS):
            say(name)
            row = run(name, QUICK_SETTINGS if arguments.quick else SETTINGS, make_folder(folder / name))
            write_json(folder / name / "row.json", row)
            rows.append(row)
            show(rows)
    figures = {"weights": f"random, seed {SEED}", "busy": arguments.busy, "rows": rows}
    finish(arguments, figures, [each for row in rows for each in goals(row)])


def goals(row: dict[str, Any]) -> list[dict[str, Any]]:
    if "refused" in row:
        return [goal(f"{row['network']}: refused as not measurable", 1, 1)]
    ratio = row["ratio"]["by latency"]["ratio"]
    return [
        goal(f"{row['network']}: share of the latency", SHARE, ratio, at_most=True),
        goal(f"{row['network']}: and no less than", LEAST, ratio),
    ]


if __name__ == "__main__":
    main()
