import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgekd.distill import KD, Distillation, kd_loss
from edgekd.models import build
from edgekd.recipe import Train
from edgekd.train import CrossEntropy, accuracy_of, fit


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    teacher, student = (build("small_cnn", (1, 8, 8), 10, width=width) for width in (8, 4))
    return teacher, student


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(16, 1, 8, 8, generator=generator), torch.randint(0, 10, (16,), generator=generator)


def test_the_labels_alone():
    teacher, student = networks()
    inputs, labels = batch()
    ours = Distillation(teacher, KD(), hard_weight=1, label_smoothing=0.1)(student.eval(), inputs, labels)
    torch.testing.assert_close(ours, F.cross_entropy(student(inputs), labels, label_smoothing=0.1))


def test_the_teacher_alone():
    teacher, student = networks()
    inputs, labels = batch()
    ours = Distillation(teacher, KD(2.0), hard_weight=0)(student.eval(), inputs, labels)
    torch.testing.assert_close(ours, kd_loss(student(inputs), teacher.eval()(inputs), 2.0))


@pytest.mark.parametrize("weight", [0.1, 0.5])
def test_the_mixture(weight):
    teacher, student = networks()
    inputs, labels = batch()
    ours = Distillation(teacher, KD(), hard_weight=weight)(student.eval(), inputs, labels)
    hard = F.cross_entropy(student(inputs), labels)
    soft = kd_loss(student(inputs), teacher.eval()(inputs))
    torch.testing.assert_close(ours, weight * hard + (1 - weight) * soft)


def test_the_teacher_is_left_as_it_is(few_digits):
    teacher, student = networks()
    before = copy.deepcopy(teacher.state_dict())
    objective = Distillation(teacher, KD())
    fit(student, few_digits, Train(epochs=1), objective, float32=True)
    assert not any(module.training for module in teacher.modules())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def test_a_student_learns_from_its_teacher_alone(digits, trained):
    """Without a single label."""
    _, student = networks()
    objective = Distillation(copy.deepcopy(trained), KD(4.0), hard_weight=0)
    fit(student, digits, Train(epochs=3, lr=0.1), objective, float32=True)
    assert accuracy_of(student, digits, digits.validation) > 0.8


def test_cross_entropy_smooths_labels():
    _, student = networks()
    inputs, labels = batch()
    ours = CrossEntropy(0.2)(student.eval(), inputs, labels)
    probability = F.log_softmax(student(inputs), 1)
    expected = -(0.8 * probability[range(16), labels] + 0.2 * probability.mean(1)).mean()
    torch.testing.assert_close(ours, expected)
