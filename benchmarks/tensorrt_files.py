"""Every network's TensorRT file through the real parser and builder, ahead of time and without a GPU.

    python benchmarks/tensorrt_files.py --json benchmarks/results/tensorrt_files.json
    python benchmarks/tensorrt_files.py --dense --json benchmarks/results/tensorrt_dense.json

torchvision's networks of ``quantize_peers.py`` with random weights, quantised for all runtimes at once, as the
``tensorrt`` profile writes them. TensorRT for RTX parses and builds each for four kinds of GPU, and its own list of
layers says in which precision a convolution runs. Last, a file with zero points: the linter's word and the parser's.
``--dense`` takes networks for boxes, masks and points, of ``dense_zoo.py``. With ``--out`` what is finished is kept
there, and a run that was killed goes on.
"""

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import zoo
from common import finish, goal, options, say
from dense_zoo import dense_networks
from int8_files import MEAN, STD, TORCHVISION, build_network
from rich.console import Console
from rich.table import Table
from torch import Tensor, manual_seed, nn, randn

from edgekd.errors import EdgekdError, first_line
from edgekd.files import write_json
from edgekd.lint import lint
from edgekd.models.signature import find_signature
from edgekd.preprocess import Preprocess
from edgekd.quantize import calibrate, prepare
from edgekd.quantize.files import audit, to_runtime
from edgekd.quantize.qdq import to_qdq
from edgekd.runtimes.tensorrt import build, layer_precisions, library, parse_errors

GPUS = ("SM80", "SM86", "SM89", "SM120")
# What is parsed and built does not depend on the size of the images, the time to export does.
SIDE, QUICK = 64, ("resnet18", "mobilenet_v3_small")
SHAPE = (3, SIDE, SIDE)
# Of one side, and each with another kind of layer: concatenations, attention, transposed convolutions, shuffles.
DENSE = (
    *("pyramid_detector", "unet", "unet_transposed", "deconvolutions", "pixel_shuffle", "c2f", "hourglass"),
    *("lraspp_mobilenet_v3_large", "ssdlite320_mobilenet_v3_large", "c3k2_attention", "fcos_resnet50_fpn"),
)
QUICK_DENSE = ("pyramid_detector", "unet_transposed")


def images() -> Tensor:
    manual_seed(0)
    return randn(4, *SHAPE)


def check(name: str, network: nn.Module) -> dict[str, Any]:
    try:
        graph = prepare(network, SHAPE, "portable")
        calibrate(graph, [images()])
        qdq = to_qdq(graph, Preprocess("image", SHAPE, MEAN, STD), inputs=find_signature(network, images()))
        model = to_runtime(qdq, graph, "portable", "tensorrt")
        content = model.SerializeToString(deterministic=True)
        refused = [f"{error.node}: {error.reason}" for error in parse_errors(content)]
        built = {} if refused else {gpu: described(content, gpu) for gpu in GPUS}
        linted = lint(model, "tensorrt", confirm=False)
        return {
            "network": name,
            "refused": refused,
            "scales_compared": audit(model, graph),
            "lint_coverage": linted.coverage,
            "engines": built,
        }
    except EdgekdError as error:
        return {"network": name, "error": first_line(error)}


def row_of(name: str, network: Callable[[], nn.Module], folder: Path | None) -> dict[str, Any]:
    """Return what became of a network, now or before, which is kept in ``folder``."""
    kept = folder and folder / f"{name}.json"
    if kept and kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    found = check(name, network())
    if kept:
        write_json(kept, found)
    return found


def described(content: bytes, gpu: str) -> dict[str, Any]:
    started = time.monotonic()
    engine = build(content, gpu)
    precisions: dict[str, Counter[str]] = layer_precisions(engine.layers) if engine.layers else {}
    return {
        "seconds": round(time.monotonic() - started, 2),
        "bytes": len(engine.plan),
        "layers": {kind: dict(found) for kind, found in precisions.items()},
    }


def affine() -> dict[str, Any]:
    """A file for ONNX Runtime on x86, held against the TensorRT profile."""
    graph = prepare(build_network("resnet18"), SHAPE, "onnxruntime-x86")
    calibrate(graph, [images()])
    qdq = to_qdq(graph, Preprocess("image", SHAPE, MEAN, STD))
    model = to_runtime(qdq, graph, "onnxruntime-x86", "onnxruntime-x86")
    found = lint(model, "tensorrt", confirm=False)
    refusals = [finding for layer in found.layers for finding in layer.findings if finding.effect == "refused"]
    errors = parse_errors(model.SerializeToString())
    return {
        "linter": [f"{finding.code}: {finding.message}" for finding in refusals[:1]],
        "parser": [f"{error.node}: {error.reason}" for error in errors[:1]],
    }


def main() -> None:
    arguments = options(__doc__, dense={"action": "store_true", "help": "networks for boxes, masks and points"})
    rows, dense = [], {name: replace(entry, shape=SHAPE) for name, entry in dense_networks().items()}
    few, every = (QUICK_DENSE, DENSE) if arguments.dense else (QUICK, TORCHVISION)
    for name in few if arguments.quick else every:
        network = partial(zoo.build_network, dense[name]) if arguments.dense else partial(build_network, name)
        rows.append(row_of(name, network, arguments.out))
        say(f"{name}: {rows[-1].get('error') or rows[-1]['refused'] or 'built for ' + ', '.join(rows[-1]['engines'])}")
    refusal = {} if arguments.dense else affine()
    table = Table("Network", *GPUS, "Convolutions and products on SM89", "Scales compared")
    for row in rows:
        engines = row.get("engines", {})
        layers = engines.get("SM89", {}).get("layers", {})
        shown = "; ".join(f"{kind}: {counts}" for kind, counts in layers.items() if kind in ("correlation", "gemm"))
        seconds = (f"{engines[gpu]['seconds']} s" if gpu in engines else "–" for gpu in GPUS)
        table.add_row(row["network"], *seconds, shown, str(row.get("scales_compared", "–")))
    Console(width=150).print(table)
    built = sum(len(row.get("engines", {})) == len(GPUS) for row in rows)
    goals = [goal("networks parsed and built for all four", len(rows), built)]
    if refusal:
        say(f"a file with zero points: {refusal}")
        refused = sum(map(bool, refusal.values()))
        goals.append(goal("a file with zero points: refused by linter and parser", 2, refused))
    finish(arguments, {"library": Path(library().__file__).parent.name, "rows": rows, "affine": refusal}, goals)


if __name__ == "__main__":
    main()
