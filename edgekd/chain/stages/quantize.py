import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from edgekd.artifact import capture, fill
from edgekd.chain.stage import Job, Result, stage
from edgekd.progress import say
from edgekd.quantize import calibrate, hold, observe, prepare
from edgekd.train import accuracy_of
from edgekd.train.device import channels_last


@stage("quantize", product="quantized", version=3)
def quantize(job: Job) -> Result:
    """Quantisation-aware training; calibration alone with ``epochs: 0``, or where training surely loses accuracy."""
    section = job.section
    profile = "onnxruntime-x86" if section.reduce_range else "onnxruntime-x86-vnni"
    graph = prepare(job.network, job.spec.input_shape, profile)
    calibrate(graph, _calibration(job))
    hold(graph)
    calibrated = accuracy_of(graph, job.data, job.data.validation)
    before = capture(graph, job.spec).tensors

    def before_step(step: int, total: int) -> None:
        observe(graph, step < section.freeze_after * total)

    history = job.fit(graph, float32=True, to_train=observe, to_eval=hold, before_step=before_step)
    trained = history[-1]["validation_accuracy"] if history else calibrated
    keep = bool(history) and calibrated - trained <= noise(calibrated, trained, len(job.data.validation))
    if history and not keep:
        say(f"  quantize: training lost {100 * (calibrated - trained):.2f} points, the calibrated weights are kept")
        fill(graph, before)
    metrics = {
        "history": history,
        "calibrated_validation_accuracy": calibrated,
        "weights": "trained" if keep else "calibrated",
    }
    return Result(graph, replace(job.spec, quantization={"profile": profile}), metrics)


def noise(first: float, second: float, n: int) -> float:
    """Two standard errors of the difference of two accuracies: what ``n`` samples cannot tell from nothing."""
    mean = (first + second) / 2
    return 2 * math.sqrt(2 * mean * (1 - mean) / n)


def _calibration(job: Job) -> Iterator[Tensor]:
    data = job.data
    count = min(len(data.train), job.section.calibration_batches * data.batch_size)
    chosen = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(job.seed))[:count]
    for raw, _ in data.train.stream(chosen.split(data.batch_size)):
        yield channels_last(data.to_input(raw))
