from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from edgekd.chain.stage import Job, Result, stage
from edgekd.quantize import calibrate, hold, observe, prepare
from edgekd.train.device import channels_last


@stage("quantize", product="quantized", version=1)
def quantize(job: Job) -> Result:
    """Quantisation-aware training; with ``epochs: 0``, calibration alone."""
    section = job.section
    profile = "onnxruntime-x86" if section.reduce_range else "onnxruntime-x86-vnni"
    graph = prepare(job.network, job.spec.input_shape, profile)
    calibrate(graph, _calibration(job))

    def before_step(step: int, total: int) -> None:
        observe(graph, step < section.freeze_after * total)

    history = job.fit(graph, float32=True, to_train=observe, to_eval=hold, before_step=before_step)
    return Result(graph, replace(job.spec, quantization={"profile": profile}), {"history": history})


def _calibration(job: Job) -> Iterator[Tensor]:
    data = job.data
    count = min(len(data.train), job.section.calibration_batches * data.batch_size)
    chosen = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(job.seed))[:count]
    for raw, _ in data.train.stream(chosen.split(data.batch_size)):
        yield channels_last(data.to_input(raw))
