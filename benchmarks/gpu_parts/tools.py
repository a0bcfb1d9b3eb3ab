"""Measuring tools of all parts; they need PyTorch alone."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn


@torch.no_grad()
def settled(made: nn.Module, inputs: Tensor) -> nn.Module:
    norms = [each for each in made.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    made.train()(inputs)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    return made.eval()


def wait(device: str) -> None:
    """Wait until the GPU has done all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def timed(call: Callable[[], Any], device: str) -> tuple[Any, float]:
    """Return the result of one call, and its seconds from an idle device to an idle device."""
    wait(device)
    started = perf_counter()
    result = call()
    wait(device)
    return result, perf_counter() - started


def apart(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference of two tensors over the largest magnitude of ``expected``."""
    ours, theirs = found.detach().double().cpu(), expected.detach().double().cpu()
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-12))
