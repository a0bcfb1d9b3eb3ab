"""The training loop: the same bits from the same seed, resumed from a checkpoint; and evaluation against the CPU."""

import tempfile
from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import goal
from gpu_parts.patterns import data_set, network
from gpu_parts.tools import apart, timed, wait
from torch import Tensor, nn

from edgekd.artifact import tensors_of
from edgekd.data.dataset import DataSet
from edgekd.train import CrossEntropy, FitOptions, Train, fit, logits_of
from edgekd.train.device import has_fast_bf16, make_fabric

SECTION = Train(epochs=2, lr=0.02)
# The largest difference of logits, over their largest magnitude, between two devices in IEEE float32.
TOLERANCE = 1e-3


class Interrupted(Exception):
    """The training is stopped in its middle."""


def measure(device: str, quick: bool) -> Iterator[tuple[str, Any]]:
    batch, steps = (16, 3) if quick else (128, 20)
    data = data_set(batch * steps, 32 if quick else 1024, batch)
    start = network("resnet20")
    on = make_fabric().device
    yield "device", {"type": on.type, "bfloat16": has_fast_bf16()}
    yield "evaluation", evaluation(start, data, on)
    for name, float32 in (("mixed", False), ("float32", True)):
        torch.manual_seed(0)
        runs, spent = [], []
        for _ in range(2):
            student = deepcopy(start)
            training = partial(fit, student, data, SECTION, CrossEntropy(), FitOptions(float32=float32))
            spent.append(timed(training, device)[1])
            runs.append(tensors_of(student))
        resumed = tensors_of(interrupted(deepcopy(start), data, float32, steps + steps // 2))
        yield (
            name,
            {
                "steps_per_second": SECTION.epochs * steps / min(spent),
                "again": difference(runs[1], runs[0]),
                "resumed": difference(resumed, runs[0]),
                "finite": all(bool(each.isfinite().all()) for each in runs[0].values() if each.is_floating_point()),
            },
        )
    if device == "cuda":
        yield "tf32", tf32()


def evaluation(start: nn.Module, data: DataSet, on: torch.device) -> dict[str, float]:
    here = logits_of(start.cpu(), data, data.validation)
    there = logits_of(deepcopy(start).to(on), data, data.validation)
    alike = float((here.argmax(1) == there.argmax(1)).double().mean())
    return {"samples": len(here), "logits_apart": apart(there, here), "equal_predictions": alike}


def interrupted(student: nn.Module, data: DataSet, float32: bool, stop: int) -> nn.Module:
    """Train, stop at the step ``stop``, and go on from the checkpoint in a new network."""

    def until(step: int, total: int) -> None:
        if step == stop:
            raise Interrupted

    with tempfile.TemporaryDirectory() as folder:
        kept = FitOptions(float32=float32, folder=Path(folder), save_every=0.0)
        try:
            fit(student, data, SECTION, CrossEntropy(), FitOptions(**{**vars(kept), "before_step": until}))
        except Interrupted:
            student = network("resnet20", seed=5)
        fit(student, data, SECTION, CrossEntropy(), kept)
    return student


def difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Any]:
    pairs = [(found[name], each) for name, each in expected.items() if each.is_floating_point()]
    return {
        "equal": all(torch.equal(*pair) for pair in pairs),
        "apart": max(apart(*pair) for pair in pairs),
    }


def tf32() -> dict[str, float]:
    """Return how far a convolution is from float64 with PyTorch's own setting and with ours."""
    from edgekd.precision import ieee_float32

    torch.manual_seed(0)
    layer, x = nn.Conv2d(256, 256, 3, padding=1), torch.randn(8, 256, 28, 28)
    with torch.no_grad():
        exact = deepcopy(layer).double()(x.double())
        layer, x = layer.cuda(), x.cuda()
        usual = apart(layer(x), exact)
        with ieee_float32():
            ours = apart(layer(x), exact)
    wait("cuda")
    return {"usual": usual, "ieee": ours}


def goals(figures: dict[str, Any], device: str) -> list[dict[str, Any]]:
    found = []
    if each := figures.get("evaluation"):
        found.append(goal("training: logits apart from the CPU's", TOLERANCE, each["logits_apart"], at_most=True))
        found.append(goal("training: equal predictions on both, share", 0.99, each["equal_predictions"]))
    for name in ("mixed", "float32"):
        if each := figures.get(name):
            again, resumed = each["again"]["apart"], each["resumed"]["apart"]
            found.append(goal(f"training: {name}, same seed again, weights apart", 0.0, again, at_most=True))
            found.append(goal(f"training: {name}, resumed, weights apart", 0.0, resumed, at_most=True))
    if each := figures.get("tf32"):
        found.append(goal("training: IEEE convolution apart from float64", 1e-5, each["ieee"], at_most=True))
    return found
