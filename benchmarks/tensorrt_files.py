"""Every network's TensorRT file through the real parser and builder, ahead of time and without a GPU.

    python benchmarks/tensorrt_files.py --json benchmarks/results/tensorrt_files.json

torchvision's networks of ``quantize_peers.py`` with random weights, quantised for all runtimes at once, as the
``tensorrt`` profile writes them. TensorRT for RTX parses and builds each for four kinds of GPU, and its own list of
layers says in which precision a convolution runs. Last, a file with zero points: the linter's word and the parser's.
"""

import time
from collections import Counter
from pathlib import Path
from typing import Any

from common import finish, goal, options, say
from int8_files import MEAN, STD, TORCHVISION, build_network
from rich.console import Console
from rich.table import Table
from torch import Tensor, manual_seed, randn

from edgekd.errors import EdgekdError, first_line
from edgekd.lint import lint
from edgekd.preprocess import Preprocess
from edgekd.quantize import calibrate, prepare
from edgekd.quantize.files import audit, to_runtime
from edgekd.quantize.qdq import to_qdq
from edgekd.runtimes.tensorrt import build, layer_precisions, library, parse_errors

GPUS = ("SM80", "SM86", "SM89", "SM120")
# What is parsed and built does not depend on the size of the images, the time to export does.
SIDE, QUICK = 64, ("resnet18", "mobilenet_v3_small")
SHAPE = (3, SIDE, SIDE)


def images() -> Tensor:
    manual_seed(0)
    return randn(4, *SHAPE)


def check(name: str) -> dict[str, Any]:
    try:
        graph = prepare(build_network(name), SHAPE, "portable")
        calibrate(graph, [images()])
        model = to_runtime(to_qdq(graph, Preprocess("image", SHAPE, MEAN, STD)), graph, "portable", "tensorrt")
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
    arguments = options(__doc__)
    rows = []
    for name in QUICK if arguments.quick else TORCHVISION:
        rows.append(check(name))
        say(f"{name}: {rows[-1].get('error') or rows[-1]['refused'] or 'built for ' + ', '.join(rows[-1]['engines'])}")
    refusal = affine()
    table = Table("Network", *GPUS, "Convolutions and products on SM89", "Scales compared")
    for row in rows:
        engines = row.get("engines", {})
        layers = engines.get("SM89", {}).get("layers", {})
        shown = "; ".join(f"{kind}: {counts}" for kind, counts in layers.items() if kind in ("correlation", "gemm"))
        seconds = (f"{engines[gpu]['seconds']} s" if gpu in engines else "–" for gpu in GPUS)
        table.add_row(row["network"], *seconds, shown, str(row.get("scales_compared", "–")))
    Console(width=150).print(table)
    say(f"a file with zero points: {refusal}")
    built = sum(len(row.get("engines", {})) == len(GPUS) for row in rows)
    goals = [
        goal("networks parsed and built for all four", len(rows), built),
        goal("a file with zero points: refused by linter and parser", 2, sum(map(bool, refusal.values()))),
    ]
    finish(arguments, {"library": Path(library().__file__).parent.name, "rows": rows, "affine": refusal}, goals)


if __name__ == "__main__":
    main()
