"""A network as the file that the first target will run, while its stage is still at work on it."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from edgekd.chain.stage import Job
from edgekd.chain.targets import can_be_timed, file_profile, training_profile
from edgekd.export import PROFILES, export_onnx
from edgekd.preprocess import Preprocess
from edgekd.prune.clock import Write
from edgekd.quantize import prepare
from edgekd.quantize.calibration import calibrate
from edgekd.quantize.files import export_runtime
from edgekd.recipe import Quantize, Recipe

# Ranges make no difference to the time of a file: a few samples are enough.
BATCHES = 1


def deployment(recipe: Recipe) -> dict[str, Any]:
    """What of ``recipe`` says how its network is deployed and whether that can be timed, as plain JSON."""
    target = recipe.targets[0]
    quantise = [each for each in recipe.stages if isinstance(each, Quantize) and set(each.rungs) != {"half"}]
    trained = (quantise[0].profile or training_profile(recipe.targets)) if quantise else None
    return {
        "device": target.device,
        "runtime": target.runtime,
        "threads": target.threads,
        "timed": can_be_timed(target),
        "file": file_profile(target),
        "trained": trained,
        "precision": "int8" if quantise else "float32",
        "channels": PROFILES.find(trained or file_profile(target)).channels,
    }


def writer(job: Job, batches: Iterable[Tensor]) -> Write:
    """Writes networks like ``job``'s as they are deployed; ``batches`` of inputs set the ranges of int8."""
    if job.needs["precision"] == "float32":
        return partial(_write_float, preprocess=job.data.preprocess)
    return partial(_write_int8, job=job, batches=list(batches)[:BATCHES])


def _write_float(network: nn.Module, path: Path, preprocess: Preprocess) -> None:
    export_onnx(network, path, preprocess)


def _write_int8(network: nn.Module, path: Path, job: Job, batches: Iterable[Tensor]) -> None:
    trained = job.needs["trained"]
    graph = prepare(network, job.spec.input_shape, trained)
    calibrate(graph, batches, "minmax")
    export_runtime(graph, path, job.data.preprocess, job.needs["file"], trained=trained)
