"""How far four files are from this machine's limit, layer by layer: ResNet-18 and the CIFAR student, float and int8.

The weights are random, which changes no time. The int8 files are made as ``edgekd run`` makes them, calibrated on
random images. Every share is of what ONNX Runtime itself reached on this machine in the same session.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from common import finish, goal, options

from edgekd.bench.plan import Workload
from edgekd.bench.profile.profiler import machine_roofs, profile_against_roofline
from edgekd.cli.profile import shares
from edgekd.export import export_onnx
from edgekd.formatting import percent, significant
from edgekd.models import build
from edgekd.models.size import count_macs
from edgekd.preprocess import Preprocess
from edgekd.quantize import calibrate, convert, freeze_ranges, prepare
from edgekd.report.profile import LayersUnderRoofs
from edgekd.report.roofline import draw_roofline

SEED, THREADS, WORST = 0, 1, 5
ABOVE = 1.05  # of its limit: what a layer may reach before the roofs are called too low
SHORTEST_MS = 0.02  # below that the profiler's own time is most of a layer's


@dataclass(frozen=True)
class Case:
    name: str
    model: str
    pixels: int
    classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return 3, self.pixels, self.pixels


def cases(quick: bool) -> Iterator[Case]:
    yield Case("resnet18", "torchvision/resnet18", 64 if quick else 224, 1000)
    yield Case("resnet20", "resnet20", 32, 10)


def write_pair(case: Case, folder: Path) -> dict[str, Path]:
    torch.manual_seed(SEED)
    network = build(case.model, case.shape, case.classes).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=0.1)  # training leaves none at zero, where the exporter drops them
    preprocess = Preprocess("image", case.shape, (0.5,) * 3, (0.25,) * 3)
    files = {"float32": export_onnx(network, folder / f"{case.name}-float32.onnx", preprocess)}
    graph = prepare(network, case.shape)
    calibrate(graph, [torch.randn(8, *case.shape)])
    freeze_ranges(graph)
    files["int8"] = export_onnx(convert(graph), folder / f"{case.name}-int8.onnx", preprocess)
    return files


def row_of(case: Case, precision: str, document: dict[str, Any]) -> dict[str, Any]:
    """What the record keeps of one file; every layer with its limit is in it."""
    computing = [layer for layer in document["layers"] if layer["macs"] and layer["ms"] >= SHORTEST_MS]
    macs = count_macs(build(case.model, case.shape, case.classes), case.shape)
    kept = ("threads", "batch", "runs", "roofs", "summary", "layers")
    worst = sorted(document["layers"], key=lambda layer: layer["winnable_ms"], reverse=True)[:WORST]
    return {
        "network": case.name,
        "precision": precision,
        "pixels": case.pixels,
        "macs_by_pytorch": macs,
        "highest_share": max((layer["share"] for layer in computing), default=0.0),
        "worst": [{key: layer[key] for key in ("name", "op", "ms", "limit_ms", "bound")} for layer in worst],
        **{key: document[key] for key in kept},
    }


def goals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        name = f"{row['network']} {row['precision']}"
        difference = abs(row["summary"]["macs"] / row["macs_by_pytorch"] - 1)
        found.append(goal(f"{name}: MACs beside PyTorch's counter, difference", 0.001, difference, at_most=True))
        found.append(goal(f"{name}: highest share of a roof by a layer", ABOVE, row["highest_share"], at_most=True))
    return found


def table(rows: list[dict[str, Any]]) -> Table:
    headings = ("Network", "Precision", "ms", "Limit ms", "Of the limit", "Time in", "Bound by", "Most to win")
    shown = Table(*headings)
    for row in rows:
        whole = row["summary"]
        cells = (significant(whole["unprofiled_ms"]), significant(whole["limit_ms"]), percent(whole["share"]))
        parts = (shares(whole["ms_by_kind"]), shares(whole["ms_by_bound"]))
        worst = ", ".join(layer["name"] for layer in row["worst"][:3])
        shown.add_row(row["network"], row["precision"], *cells, *parts, worst)
    return shown


def main() -> None:
    arguments = options(__doc__)
    rows: list[dict[str, Any]] = []
    runs = 20 if arguments.quick else 100
    # Measured anew, and once, so that all four files stand under the same ones.
    roofs_of = cache(partial(machine_roofs, fresh=True))
    with TemporaryDirectory() as aside:
        folder = arguments.out or Path(aside)
        for case in cases(arguments.quick):
            for precision, path in write_pair(case, Path(aside)).items():
                found = profile_against_roofline(Workload(str(path)), THREADS, 1, runs, roofs_of=roofs_of)
                document = found.to_json()
                rows.append(row_of(case, precision, document))
                draw_roofline(LayersUnderRoofs.from_json(document), folder / f"{case.name}-{precision}.png")
    Console(width=200).print(table(rows))
    finish(arguments, {"profiles": rows}, goals(rows))


if __name__ == "__main__":
    main()
