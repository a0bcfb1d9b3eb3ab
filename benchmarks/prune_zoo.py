"""Every classification network of torchvision: pruned by half, saved, reloaded, exported, and timed.

    python benchmarks/prune_zoo.py --json benchmarks/results/prune_zoo.json
    python benchmarks/prune_zoo.py --dense --json benchmarks/results/prune_dense.json

Weights are random, with BatchNorm statistics of random images. A network is through when half of its MACs are gone,
a new process loads it and gives the same outputs to the bit, and ONNX Runtime gives each to 1e-4 of its largest; where
PyTorch's own rounding is in the way of that, outputs in float64 are the reference, and the row says so. Then
its file is timed beside the unpruned one's, in turns; where it is slower, the rounding is changed. Networks come in the
order of their size. What is made and measured is kept under --out, and a run that was killed goes on; ``--files``
times nothing that was not timed before, since timing alone needs a quiet machine. ``--earlier`` goes on from a record
of another machine: networks that were timed there are taken from it, and each row says which processor it is of.
``--dense`` takes networks for boxes, masks and points in their place, and times none; of an earlier record it takes
those that went through.
"""

import gc
import importlib.metadata
import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from common import finish, goal, options, say
from dense_zoo import dense_networks
from int8_files import MEAN, STD
from quantize_peers import kept_of, latencies
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torchvision import models
from zoo import SEED, STATISTICS, ZooNetwork, build_network, random_images

import edgekd
from edgekd.artifact import capture
from edgekd.artifact_cache import ArtifactCache
from edgekd.bench import Plan, Workload, fingerprint, measure
from edgekd.errors import EdgekdError, ExportError, first_line
from edgekd.export import export_onnx
from edgekd.files import canonical_json, make_folder, sha256, sha256_file, write_json
from edgekd.formatting import ABSENT, significant
from edgekd.models import code_of
from edgekd.models.signature import find_signature
from edgekd.preprocess import Preprocess
from edgekd.prune import Prunable
from edgekd.prune.budget import prune_to
from edgekd.spec import Spec, Transform
from edgekd.stats.ratios import ratio_over_launches
from edgekd.tasks.tensors import output_tensors
from edgekd.train.device import lay_out

ROOT = Path(__file__).parents[1]
QUICK = ("squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small")
QUICK_DENSE = ("c2f", "unet", "pixel_shuffle")
SIDE = 64
# Inception takes no less; the others are made for one size, and Swin fills up its windows on less.
SIDES = {
    "inception_v3": 75,
    **dict.fromkeys(["maxvit_t", *models.list_models(models, include="vit_*")], 224),
    **dict.fromkeys(models.list_models(models, include="swin_*"), 224),
    **dict.fromkeys(models.list_models(models, include="swin_v2_*"), 256),
}
SHARE, TOLERANCE, GOAL = 0.5, 1e-4, 72
ROUNDINGS = (8, 16, 32)
IMAGES = 2
SETTINGS = {"seconds": 1.0, "max_seconds": 1.5, "launches": 6}
QUICK_SETTINGS = {"seconds": 0.6, "max_seconds": 1.2, "launches": 6}
# torchvision's and edgekd's ways to an ONNX file end at the 2 GiB of one protobuf.
MOST_PARAMETERS = 500e6
PRUNED, FLOAT, ABOUT = "pruned.onnx", "float.onnx", "about.json"
VERSION = 2
# Told by lines of a folder and a file, in a process that never built the networks it loads.
RELOAD = """
import sys
from pathlib import Path
import torch
import edgekd
for line in sys.stdin:
    folder, exchanged = line.rstrip().split(chr(9))
    try:
        network, images = edgekd.load(Path(folder)), torch.load(exchanged, weights_only=True)
        with torch.no_grad():
            torch.save(network(images), exchanged)
        print(flush=True)
    except Exception as error:
        print(*str(error).split(), flush=True)
"""


def by_size() -> list[str]:
    names = models.list_models(module=models)
    return sorted(names, key=lambda name: models.get_model_weights(name).DEFAULT.meta["num_params"])


def shape_of(name: str) -> tuple[int, int, int]:
    side = SIDES.get(name, SIDE)
    return 3, side, side


def classifier(name: str) -> ZooNetwork:
    return ZooNetwork(name, f"torchvision/{name}", shape_of(name), 1000)


def preprocess_of(network: ZooNetwork) -> Preprocess | None:
    return Preprocess("image", network.shape, MEAN, STD) if network.shape[0] == 3 else None


def check(entry: ZooNetwork, store: ArtifactCache, round_to: int) -> tuple[dict[str, Any], Path]:
    """What became of a network, now or before, and the folder with its files."""
    name, code = entry.name, code_of(entry.builder, entry.shape, entry.classes, {})
    inputs = [VERSION, name, round_to, versions(), own_sources(), *code]
    label, key = f"{name}-pruned", sha256(canonical_json(inputs))

    def fill(new: Path) -> None:
        say(f"  {name}: being pruned")
        started = time.monotonic()
        try:
            found = through(entry, code, new, round_to)
        except EdgekdError as error:
            found = {"error": first_line(error)}
        except Exception as error:  # a library's own; the table shows it as the reason
            found = {"error": f"{type(error).__name__}: {first_line(error)}"}
        write_json(new / ABOUT, {**found, "seconds": round(time.monotonic() - started, 1)})
        gc.collect()

    folder = store.keep(label, key, fill)
    return {
        "network": name,
        "shape": entry.shape,
        "round_to": round_to,
        **json.loads((folder / ABOUT).read_text()),
    }, folder


def through(entry: ZooNetwork, code: tuple[str, ...], folder: Path, round_to: int) -> dict[str, Any]:
    prunable = Prunable(build_network(entry), entry.shape, round_to=round_to)
    pruned = prune_to("macs", SHARE, prunable)
    found: dict[str, Any] = {
        "macs": [pruned.before, pruned.after],
        "share": pruned.share,
        "unpruned": [str(each) for each in prunable.unpruned],
    }
    images, network = random_images(entry.shape, IMAGES, SEED + 1), lay_out(pruned.network.eval())
    plan, signature = Transform("prune", pruned.plan), find_signature(network, images)
    del prunable, pruned
    with torch.no_grad():
        outputs = output_tensors(network(images))
    spec = Spec(
        entry.builder, entry.shape, entry.classes, transforms=(plan,), code=code,
        signature=None if signature.is_single else signature,
    )  # fmt: skip
    found |= reloaded(capture(network, spec), images, outputs, folder)
    export_onnx(network, folder / PRUNED, preprocess_of(entry), inputs=signature)
    computed = in_runtime(folder / PRUNED, images)
    found |= {"outputs": len(outputs), "departure": (departure := departs(computed, outputs))}
    if departure > TOLERANCE:
        with torch.no_grad():
            exact = output_tensors(network.double()(images.double()))
        found |= {"departure_float32": departure, "departure": (departure := departs(computed, exact))}
    reasons = [
        *([] if found["same_bits"] else ["reloaded, it gives other outputs"]),
        *([] if departure <= TOLERANCE else [f"ONNX Runtime departs by {departure:.1e}"]),
    ]
    return {**found, "error": "; ".join(reasons) or None}


def departs(computed: dict[str, Tensor], outputs: dict[str, Tensor]) -> float:
    """Return the largest difference, as a share of its output's largest value."""
    return max(float((computed[name] - each).abs().max() / each.abs().max()) for name, each in outputs.items())


def reloaded(artifact: Any, images: Tensor, outputs: dict[str, Tensor], folder: Path) -> dict[str, Any]:
    """Whether a new process that loads the artifact gives the same outputs to the bit."""
    saved, exchanged = make_folder(folder / "saved"), folder / "images.pt"
    artifact.save(saved)
    torch.save(images, exchanged)
    if said := asked(f"{saved}\t{exchanged}"):
        raise ExportError(f"cannot be reloaded: {said}")
    sizes = {path.name: path.stat().st_size for path in saved.iterdir()}
    found = output_tensors(torch.load(exchanged, weights_only=True))
    for path in (*saved.iterdir(), exchanged):
        path.unlink()
    saved.rmdir()
    return {"same_bits": all(torch.equal(found[name], each) for name, each in outputs.items()), "bytes": sizes}


@cache
def reloader() -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RELOAD]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def asked(line: str) -> str:
    """Return why the other process cannot load a network, or nothing."""
    process = reloader()
    assert process.stdin and process.stdout
    print(line, file=process.stdin, flush=True)
    answer = process.stdout.readline()
    return answer.strip() if answer else f"its process ended with {process.wait()}"


def in_runtime(file: Path, images: Tensor) -> dict[str, Tensor]:
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads, session_options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(str(file), session_options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return {
        name: torch.from_numpy(np.asarray(each))
        for name, each in zip(names, session.run(names, {"input": images.numpy()}), strict=True)
    }


def row_of(
    name: str, files: ArtifactCache, measurements: ArtifactCache, settings: dict[str, Any], times: bool
) -> dict[str, Any]:
    """With widths in the first of ``ROUNDINGS`` at which the network is not surely slower than before."""
    refused: list[dict[str, Any]] = []
    for round_to in ROUNDINGS:
        row, made = check(classifier(name), files, round_to)
        if row["error"] is None:
            row |= timed(name, made / PRUNED, settings, files, measurements, times)
        row["refused"] = list(refused)
        if not row.get("ci95") or row["ci95"][0] <= 1:
            break
        refused.append({key: row[key] for key in ("round_to", "share", "ratio", "ci95")})
    return row


def timed(
    name: str, pruned: Path, settings: dict[str, Any], files: ArtifactCache, store: ArtifactCache, times: bool
) -> dict[str, Any]:
    """Both files' latency, and the pruned one's over the unpruned one's."""
    whole = float_file(name, files)
    if isinstance(whole, str):
        return {"untimed": whole}
    workloads = {"pruned": Workload(str(pruned)), "unpruned": Workload(str(whole))}
    found = fingerprint()
    # Both files of a ratio ran on one core; which one it was says nothing of the ratio.
    cpu = replace(found.cpu, affinity=None).to_json()
    machine = {"cpu": cpu, "packages": found.packages, "kernel": found.kernel}
    key = sha256(canonical_json([VERSION, name, sha256_file(pruned), sha256_file(whole), settings, machine]))
    if store.find(name, key) is None and not times:
        return {"untimed": "not timed yet"}

    def fill(new: Path) -> None:
        say(f"  {name}: timing")
        records = measure(Plan(workloads, "unpruned", **settings))
        write_json(new / "latency.json", {workload: kept_of(record) for workload, record in records.items()})

    folder = store.keep(name, key, fill)
    latency = json.loads((folder / "latency.json").read_text())
    ratio, interval = ratio_over_launches(latencies(latency["pruned"]), latencies(latency["unpruned"]))
    return {"latency": latency, "ratio": ratio, "ci95": list(interval) if interval else None}


def float_file(name: str, store: ArtifactCache) -> Path | str:
    """The unpruned network's file, or why there is none."""
    size = models.get_model_weights(name).DEFAULT.meta["num_params"]
    if size > MOST_PARAMETERS:
        return f"the unpruned network's {size / 1e6:.0f} million parameters do not fit into one ONNX file"
    label, key = f"{name}-float", sha256(canonical_json([VERSION, name, versions()]))

    def fill(new: Path) -> None:
        export_onnx(lay_out(build_network(classifier(name))), new / FLOAT, preprocess_of(classifier(name)))

    return store.keep(label, key, fill) / FLOAT


def versions() -> dict[str, str]:
    return {package: importlib.metadata.version(package) for package in ("torch", "torchvision", "torch-pruning")}


def own_sources() -> str:
    root = Path(edgekd.__file__).parent
    files = sorted(path for part in ("prune", "export") for path in (root / part).rglob("*.py"))
    return sha256(canonical_json([sha256_file(path) for path in files]))


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(
        "Network", "Side", "MACs kept", "ONNX Runtime departs", "Time over unpruned", "95 %", "Widths", "Through"
    )
    for row in rows:
        table.add_row(
            row["network"],
            str(row["shape"][-1]),
            f"{row['share']:.1%}" if "share" in row else ABSENT,
            f"{row['departure']:.0e}" if "departure" in row else ABSENT,
            significant(row["ratio"]) if "ratio" in row else ABSENT,
            "{:.3f}–{:.3f}".format(*row["ci95"]) if row.get("ci95") else ABSENT,
            f"×{row['round_to']}",
            row["error"] or "yes",
        )
    Console(width=150).print(table)


def goals(rows: list[dict[str, Any]], least: int) -> list[dict[str, Any]]:
    through = sum(row["error"] is None for row in rows)
    found = [goal("networks through", least, through)]
    timed = [row["ci95"] for row in rows if row.get("ci95")]
    if timed:
        slower = sum(interval[0] > 1 for interval in timed)
        found.append(goal("pruned networks surely slower than before", 0, slower, at_most=True))
    return found


def dense_row(network: ZooNetwork, files: ArtifactCache) -> dict[str, Any]:
    row, _ = check(network, files, ROUNDINGS[0])
    return {"kind": network.kind, **row}


def earlier_rows(record: Path | None) -> dict[str, dict[str, Any]]:
    """By network, those of ``record`` that have nothing left to do."""
    if record is None:
        return {}
    document = json.loads(record.read_text())
    cpu = document["environment"]["cpu"]["model"]
    return {row["network"]: {"cpu": cpu, **row} for row in document["rows"] if is_done(row)}


def is_done(row: dict[str, Any]) -> bool:
    """Whether nothing is left to do: a dense network, which has a kind, is not timed."""
    return "ratio" in row or is_too_large(row) or ("kind" in row and row["error"] is None)


def is_too_large(row: dict[str, Any]) -> bool:
    return "do not fit" in row.get("untimed", "")


def main() -> None:
    known, dense = by_size(), dense_networks()
    arguments = options(
        __doc__,
        only={"nargs": "+", "metavar": "NAME", "choices": [*known, *dense], "help": "these networks"},
        dense={"action": "store_true", "help": "networks for boxes, masks and points"},
        files={"action": "store_true", "help": "no new timing"},
        earlier={"type": Path, "metavar": "FILE", "help": "a record to go on from"},
    )
    every, few = (list(dense), QUICK_DENSE) if arguments.dense else (known, QUICK)
    folder = make_folder(arguments.out or ROOT / "runs/prune_zoo")
    settings = QUICK_SETTINGS if arguments.quick else SETTINGS
    files, measurements = ArtifactCache(folder / "files"), ArtifactCache(folder / "measurements")
    rows, done = [], earlier_rows(arguments.earlier)
    cpu = fingerprint().cpu.model
    for name in arguments.only or (few if arguments.quick else every):
        if name in dense:
            row = done.get(name) or dense_row(dense[name], files)
        else:
            row = done.get(name) or row_of(name, files, measurements, settings, not arguments.files)
        rows.append({"cpu": cpu, **row})
        say(f"{name}: {rows[-1]['error'] or 'through'} ({rows[-1]['seconds']} s)")
    show(rows)
    figures = {
        "weights": f"random, seed {SEED}, BatchNorm statistics of {STATISTICS} random images",
        "versions": versions(),
        **({} if arguments.dense else {"settings": settings}),
        "rows": rows,
    }
    finish(arguments, figures, goals(rows, len(rows) if arguments.dense else min(GOAL, len(rows))))


if __name__ == "__main__":
    main()
