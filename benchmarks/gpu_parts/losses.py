"""Every distillation loss on the device: its value and the student's gradient against the CPU's."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from common import goal
from gpu_parts.tools import apart
from torch import Tensor, nn

from edgekd.distill import LOSSES, FeatureLoss
from edgekd.precision import ieee_float32

CLASSES, SAMPLES = 100, 512
STUDENT = ((16, 16, 16), (32, 8, 8), (64,))
TEACHER = ((32, 16, 16), (64, 8, 8), (128,))
TOLERANCE = 1e-3
# Its negatives are drawn on the device.
DRAWS = ("crd",)


def measure(device: str, quick: bool) -> Iterator[tuple[str, Any]]:
    batch = 8 if quick else 64
    for name, kind in LOSSES.items():
        torch.manual_seed(0)
        loss = made(kind)
        inputs = features(loss, batch)
        indices = torch.arange(batch)
        here = value(deepcopy(loss), inputs, indices, "cpu", mixed=False)
        there = value(deepcopy(loss), inputs, indices, device, mixed=False)
        mixed = value(deepcopy(loss), inputs, indices, device, mixed=True)
        yield (
            name,
            {
                "value": float(there[0]),
                "apart": apart(there[0], here[0]),
                "gradient_apart": apart(there[1], here[1]),
                "drawn": name in DRAWS,
                "finite": all(bool(each.isfinite().all()) for each in (*there, *mixed)),
            },
        )


def made(kind: Any) -> nn.Module:
    if not issubclass(kind, FeatureLoss):
        return kind()
    shown = kind.default_layers(STUDENT) or [2]
    chosen = [[shapes[index] for index in shown] for shapes in (STUDENT, TEACHER)]
    loss = kind(*chosen, samples=SAMPLES)
    assert isinstance(loss, nn.Module)
    return loss


def features(loss: nn.Module, batch: int) -> tuple[list[Tensor], list[Tensor]]:
    if isinstance(loss, FeatureLoss):
        sides = (loss.student_shapes, loss.teacher_shapes)
        return tuple([torch.randn(batch, *shape) for shape in shapes] for shapes in sides)  # type: ignore[return-value]
    return [torch.randn(batch, CLASSES)], [torch.randn(batch, CLASSES)]


def value(
    loss: nn.Module, inputs: tuple[list[Tensor], list[Tensor]], indices: Tensor, device: str, mixed: bool
) -> tuple[Tensor, Tensor]:
    """Return the loss, and its gradient with respect to the student's first tensor."""
    student, teacher = ([each.to(device) for each in side] for side in inputs)
    first = student[0].requires_grad_()
    loss.to(device).train()
    with ieee_float32(), torch.autocast(device, torch.bfloat16, enabled=mixed):
        if isinstance(loss, FeatureLoss):
            result = loss(student, teacher, indices.to(device))
        else:
            result = loss(first, teacher[0], indices.to(device) % CLASSES)
    result.backward()
    assert first.grad is not None
    return result.detach().cpu(), first.grad.cpu()


def goals(figures: dict[str, Any], device: str) -> list[dict[str, Any]]:
    if not figures:
        return []
    compared = [max(each["apart"], each["gradient_apart"]) for each in figures.values() if not each["drawn"]]
    return [
        goal("losses: apart from the CPU's, at worst", TOLERANCE, max(compared, default=0.0), at_most=True),
        goal("losses: finite in float32 and bfloat16", len(figures), sum(each["finite"] for each in figures.values())),
    ]
