"""Others' post-training files beside edgekd's int8 file: of one float file, on the same images, judged by the task."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from cifar10 import calibration
from common import say
from peers import quantise, runs, version_of
from task_runs import Finished

from edgekd.bench import Plan, Workload, measure
from edgekd.data import DataSet, load_data
from edgekd.errors import EdgekdError, first_line
from edgekd.export import all_outputs, float_convolutions, runtime_outputs
from edgekd.files import make_folder
from edgekd.recipe import Quantize
from edgekd.tasks.compare import compare, interval
from edgekd.tasks.logits import decoded
from edgekd.tasks.metric import Evidence
from edgekd.train.evaluate import evidence_of

FLOAT, OURS = "float", "edgekd"
PEERS = ("ORT QUInt8/QInt8 per channel", "NNCF mixed")
SETTINGS: dict[str, Any] = {"seconds": 1.5, "max_seconds": 3.0, "launches": 6}
QUICK_SETTINGS: dict[str, Any] = {"seconds": 0.3, "max_seconds": 0.3, "launches": 2}


def beside_peers(done: Finished, work: Path, quick: bool) -> dict[str, Any]:
    """Quantise the float file of a finished run's last cut by each peer, and compare metric, size and time."""
    recipe = done.recipe
    data = load_data(recipe.data, recipe.seed, recipe.kind, recipe.decoding)
    files = {FLOAT: done.file(done.before_int8), OURS: done.file(done.deployed)}
    images = calibration(data, recipe.seed, _calibrated_on(done) * data.batch_size).numpy()
    failed: dict[str, str] = {}
    for peer in PEERS:
        path = make_folder(work / peer.replace("/", "-").replace(" ", "-")) / "model.onnx"
        made = quantise(peer, files[FLOAT], path, images)
        if error := made.error or runs(path, images[:1]):
            failed[peer] = error
            say(f"{done.name}, {peer}: {error}")
        else:
            files[peer] = path
    return {
        **{"n": len(data.test), "calibration": len(images)},
        "versions": {peer: version_of(peer) for peer in PEERS},
        "methods": _compared(done, files, data),
        "times": _timed(files, quick),
        "failed": failed,
    }


def _calibrated_on(done: Finished) -> int:
    [stage] = [each for each in done.recipe.stages if isinstance(each, Quantize)]
    return stage.calibration_batches


def _compared(done: Finished, files: Mapping[str, Path], data: DataSet) -> dict[str, Any]:
    metric = done.metric
    evidence = {method: test_evidence(path, data) for method, path in files.items()}
    found = {}
    for method, each in evidence.items():
        left, convolutions = float_convolutions(files[method])
        found[method] = {
            **{"value": each.value(), "ci95": list(interval(metric, each)), "size_bytes": files[method].stat().st_size},
            **{"float_convolutions": len(left), "convolutions": convolutions},
        }
        for name, other in (("lost", FLOAT), ("lost_over_edgekd", OURS)):
            if method not in (FLOAT, other):
                lost = compare(metric, evidence[other], each)
                ends = [metric.scale * end for end in lost.interval]
                found[method][name] = {"value": metric.scale * lost.drop, "ci95": ends}
        say(f"{done.name}, {method}: {metric.shown(each.value())}")
    return found


def test_evidence(path: Path, data: DataSet) -> Evidence:
    """Return the evidence for the task's first metric, of a file in ONNX Runtime on the test samples."""
    outputs = all_outputs(runtime_outputs(path, data.inputs(data.test)))
    kept = decoded(outputs, data.task.output_shapes)
    rows = data.task.to_rows({name: each.numpy() for name, each in kept.items()})
    return evidence_of(torch.from_numpy(rows), data, data.test)


def _timed(files: Mapping[str, Path], quick: bool) -> dict[str, Any]:
    """Time all files in turns, and return each one's cost over the float file's."""
    workloads = {method: Workload(str(path)) for method, path in files.items()}
    try:
        records = measure(Plan(workloads, FLOAT, **(QUICK_SETTINGS if quick else SETTINGS)))
    except EdgekdError as error:
        return {"error": first_line(error)}
    found: dict[str, Any] = {}
    for method, record in records.items():
        over = record.latency_vs_reference
        found[method] = {
            "p50_ms": record.latency_ms.p50,
            **({"over_float": over.to_json()} if over else {}),
            **{"valid": record.valid, "warnings": [each.message for each in record.warnings]},
        }
    return found
