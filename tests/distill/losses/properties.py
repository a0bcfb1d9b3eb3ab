"""What must hold of every loss of logits, as checks that raise an AssertionError."""

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # of the student's logits, the teacher's, and labels

SEEDS = range(5)


def examples(seed: int, samples: int = 6, classes: int = 10, scale: float = 3.0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of a student and a teacher (samples, classes) in float64, and labels, of which every third is missing."""
    random = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, samples, classes, generator=random, dtype=torch.float64) * scale
    labels = torch.randint(classes, (samples,), generator=random)
    labels[::3] = -1
    return student, teacher, labels


def check_gradient(loss: Loss) -> None:
    """The gradient by the student's logits is that of finite differences."""
    for seed in SEEDS:
        student, teacher, labels = examples(seed, samples=4, classes=5, scale=1.5)
        assert torch.autograd.gradcheck(loss, (student.requires_grad_(), teacher, labels))


def check_large_logits(loss: Loss) -> None:
    """Value and gradient are finite, and in float32, for logits of ±1e4 in float32 and in bfloat16."""
    for seed in SEEDS:
        student, teacher, labels = examples(seed)
        for ours, theirs in [
            (1e4 * student.sign(), 1e4 * teacher.sign()),
            (1e4 * student.sign(), -1e4 * student.sign()),
            (1e4 * student.sign(), teacher),
            (student, 1e4 * teacher.sign()),
            (1e4 * student, 1e4 * teacher),
        ]:
            check_finite(loss, ours.float(), theirs.float(), labels)
            check_finite(loss, ours.bfloat16(), theirs.bfloat16(), labels)


def check_finite(loss: Loss, student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    student = student.clone().requires_grad_()
    value = loss(student, teacher, labels)
    value.backward()
    assert value.dtype == torch.float32 and value.shape == ()
    assert value.isfinite() and value >= 0
    assert student.grad is not None and student.grad.isfinite().all()
    assert student.grad.dtype == student.dtype


def check_half_precision(loss: Loss) -> None:
    """In bfloat16 and float16 the logits are rounded, and nothing after them."""
    for seed in SEEDS:
        student, teacher, labels = examples(seed)
        for dtype in (torch.bfloat16, torch.float16):
            ours, theirs = student.to(dtype), teacher.to(dtype)
            torch.testing.assert_close(loss(ours, theirs, labels), loss(ours.float(), theirs.float(), labels))


def check_permutations(loss: Loss) -> None:
    """It matters neither in which order samples come nor how classes are numbered."""
    for seed in SEEDS:
        student, teacher, labels = examples(seed)
        expected = loss(student, teacher, labels)
        random = torch.Generator().manual_seed(seed)
        samples, classes = (torch.randperm(count, generator=random) for count in student.shape)
        torch.testing.assert_close(loss(student[samples], teacher[samples], labels[samples]), expected)
        renamed = torch.where(labels < 0, labels, classes.argsort()[labels])
        torch.testing.assert_close(loss(student[:, classes], teacher[:, classes], renamed), expected)


def check_shift(loss: Loss) -> None:
    """Adding to all logits of a sample, to each its own and to student and teacher differently, changes nothing."""
    for seed in SEEDS:
        student, teacher, labels = examples(seed)
        random = torch.Generator().manual_seed(seed)
        ours, theirs = 50 * torch.randn(2, len(labels), 1, generator=random, dtype=torch.float64)
        torch.testing.assert_close(loss(student + ours, teacher + theirs, labels), loss(student, teacher, labels))


def check_equal(loss: Loss) -> None:
    """A student that answers as its teacher does costs nothing and is pulled nowhere."""
    for seed in SEEDS:
        _, teacher, labels = examples(seed)
        student = teacher.clone().requires_grad_()
        value = loss(student, teacher, labels)
        value.backward()
        torch.testing.assert_close(value, torch.zeros_like(value), atol=1e-10, rtol=0)
        torch.testing.assert_close(student.grad, torch.zeros_like(student), atol=1e-10, rtol=0)


CHECKS = [
    check_gradient,
    check_large_logits,
    check_half_precision,
    check_permutations,
    check_shift,
    check_equal,
]
