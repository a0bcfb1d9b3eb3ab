"""Losses on a GPU: traced here with tensors that claim to be on one, and compared with the CPU where there is one."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from edgekd.distill import LOSSES, FeatureLoss
from edgekd.precision import ieee_float32

STUDENT = ((16, 16, 16), (32, 8, 8), (64,))
TEACHER = ((32, 16, 16), (64, 8, 8), (128,))
CLASSES, BATCH = 10, 8


def made(name: str) -> nn.Module:
    kind = LOSSES.find(name)
    if not issubclass(kind, FeatureLoss):
        return kind()
    layers = kind.default_layers(STUDENT) or [2]
    student, teacher = ([shapes[layer] for layer in layers] for shapes in (STUDENT, TEACHER))
    return kind(student, teacher, samples=64)


def value(loss: nn.Module, device: str) -> Tensor:
    random = torch.Generator().manual_seed(0)
    indices = torch.arange(BATCH, device=device)
    if isinstance(loss, FeatureLoss):
        sides = (loss.student_shapes, loss.teacher_shapes)
        ours, theirs = ([torch.randn(BATCH, *one, generator=random).to(device) for one in side] for side in sides)
        return loss(ours, theirs, indices)
    student, teacher = (torch.randn(BATCH, CLASSES, generator=random).to(device) for _ in range(2))
    return loss(student, teacher, indices % CLASSES)


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_is_made_on_another_device(name):
    with FakeTensorMode():
        with torch.device("cuda"):
            loss = made(name)
        assert value(loss, "cuda").device.type == "cuda"


@pytest.mark.gpu
@pytest.mark.parametrize("name", sorted({*LOSSES} - {"crd"}))  # whose negatives are drawn on the device
def test_the_value_is_that_of_the_cpu(name):
    torch.manual_seed(0)
    loss = made(name)
    with ieee_float32():
        torch.testing.assert_close(value(deepcopy(loss).cuda(), "cuda").cpu(), value(loss, "cpu"), rtol=1e-4, atol=1e-5)
