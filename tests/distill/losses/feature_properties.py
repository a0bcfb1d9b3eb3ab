"""What is checked of every loss of features; the tests say at which shapes."""

from collections.abc import Callable

import numpy as np
import torch

Array = np.ndarray
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Shapes = tuple[tuple[int, ...], tuple[int, ...]]
SEEDS = range(5)


def arrays(shapes: Shapes, seed: int = 0) -> tuple[Array, Array]:
    """Features of a student and a teacher, of shapes with the batch."""
    random = np.random.default_rng(seed)
    student, teacher = (random.normal(size=shape) for shape in shapes)
    return student, teacher


def tensors(shapes: Shapes, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    student, teacher = (torch.from_numpy(array).to(dtype) for array in arrays(shapes, seed))
    return student, teacher


def rotation(size: int, seed: int) -> torch.Tensor:
    """A random orthogonal matrix."""
    return torch.linalg.qr(torch.from_numpy(np.random.default_rng(seed).normal(size=(size, size))))[0]


def check_value(loss: Loss, expected: Callable[[Array, Array], float], shapes: Shapes) -> None:
    """In float32, by an independent calculation in float64 of the same numbers."""
    for seed in SEEDS:
        student, teacher = (array.astype(np.float32) for array in arrays(shapes, seed))
        ours = loss(torch.from_numpy(student), torch.from_numpy(teacher))
        assert ours.shape == () and ours.dtype == torch.float32
        np.testing.assert_allclose(float(ours), expected(student.astype(float), teacher.astype(float)), rtol=1e-5)


def check_gradient(loss: Loss, shapes: Shapes) -> None:
    student, teacher = tensors(shapes)
    assert torch.autograd.gradcheck(lambda x: loss(x, teacher), student.requires_grad_())


def check_unchanged(loss: Loss, shapes: Shapes, change: Callable[..., tuple[torch.Tensor, torch.Tensor]]) -> None:
    """``change``(student, teacher, seed) does not matter to the loss."""
    for seed in SEEDS:
        student, teacher = tensors(shapes, seed)
        before, after = loss(student, teacher), loss(*change(student, teacher, seed))
        assert before > 0
        torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-12)


def check_samples_are_a_set(loss: Loss, shapes: Shapes) -> None:
    def permuted(student: torch.Tensor, teacher: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        order = torch.randperm(len(student), generator=torch.Generator().manual_seed(seed))
        return student[order], teacher[order]

    check_unchanged(loss, shapes, permuted)


def check_stability(loss: Loss, shapes: Shapes) -> None:
    """Large, opposite, equal, tiny and dead features, in float32 and narrower."""
    student, teacher = tensors(shapes, dtype=torch.float32)
    signs = (torch.ones_like(student) * 1e4, torch.ones_like(teacher) * 1e4)
    signs[0][::2] *= -1
    half_dead = student.clone()
    half_dead[::2] = 0
    cases = [
        (student * 1e4, teacher * 1e4),
        (student.sign() * 1e4, teacher.sign() * -1e4),
        signs,
        (student * 1e-6, teacher),
        (torch.zeros_like(student), teacher),
        (half_dead, teacher),
        (student, torch.zeros_like(teacher)),
        (student[:1].expand_as(student), teacher),
    ]
    for dtype in (torch.float32, torch.bfloat16):
        for features, target in cases:
            x = features.to(dtype).detach().clone().requires_grad_()
            value = loss(x, target.to(dtype))
            assert value.dtype == torch.float32 and torch.isfinite(value) and value >= -1e-6
            value.backward()
            assert torch.isfinite(x.grad).all()


def check_autocast(loss: Loss, shapes: Shapes) -> None:
    """Its products are not rounded to bfloat16 where the training's are."""
    student, teacher = tensors(shapes, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        ours = loss(student, teacher)
    assert float(ours) == float(loss(student, teacher))
