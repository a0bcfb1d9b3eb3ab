"""Pruning and factorisation of a network that lies on the device: the plan, and its outputs, against the CPU's."""

from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from common import goal
from gpu_parts.patterns import CLASSES, SHAPE, network
from gpu_parts.tools import apart, timed
from torch import Tensor, nn

from edgekd.precision import ieee_float32

# Some need the gradients of a batch.
IMPORTANCES = ("group_magnitude", "bn_scale", "fpgm", "taylor")
TOLERANCE = 1e-3


def measure(device: str, quick: bool) -> Iterator[tuple[str, Any]]:
    from edgekd.prune import apply_plan, prune

    plain = network("resnet8" if quick else "resnet20")
    inputs = torch.randn(32, *SHAPE)
    labels = torch.arange(32) % CLASSES
    for importance in IMPORTANCES[:1] if quick else IMPORTANCES:
        more = {"batches": [(inputs, labels)]} if importance == "taylor" else {}
        how: dict[str, Any] = {"macs": 0.5, "importance": importance, **more}
        here = prune(deepcopy(plain), SHAPE, **how)
        there, spent = timed(partial(prune, deepcopy(plain).to(device), SHAPE, **how), device)
        rebuilt = apply_plan(deepcopy(plain), there.plan, SHAPE)
        yield (
            importance,
            {
                "seconds": spent,
                "share": there.share,
                "same_plan": here.plan == there.plan,
                "device": next(there.network.parameters()).device.type,
                "widths_as_planned": shapes(rebuilt) == shapes(there.network),
                "apart": apart(outputs(there.network, inputs, device), outputs(deepcopy(there.network), inputs, "cpu")),
            },
        )
    from edgekd.factorize import factorize

    made = factorize(deepcopy(plain).to(device), SHAPE, macs=0.6)
    yield (
        "factorize",
        {
            "share": made.share,
            "same_plan": made.plan == factorize(deepcopy(plain), SHAPE, macs=0.6).plan,
            "device": next(made.network.parameters()).device.type,
            "apart": apart(outputs(made.network, inputs, device), outputs(deepcopy(made.network), inputs, "cpu")),
        },
    )


def shapes(made: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(each.shape) for each in made.parameters()]


@torch.no_grad()
def outputs(made: nn.Module, inputs: Tensor, device: str) -> Tensor:
    with ieee_float32():
        result = made.eval().to(device)(inputs.to(device))
    assert isinstance(result, Tensor)
    return result


def goals(figures: dict[str, Any], device: str) -> list[dict[str, Any]]:
    found = []
    for name, each in figures.items():
        found.append(goal(f"pruning: {name}, on the device as before", 1, int(each["device"] == device)))
        found.append(goal(f"pruning: {name}, outputs apart from the CPU's", TOLERANCE, each["apart"], at_most=True))
    if "group_magnitude" in figures:
        found.append(goal("pruning: group_magnitude, the CPU's plan", 1, int(figures["group_magnitude"]["same_plan"])))
    return found
