import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax

from edgekd.distill.losses.kd import KD, kd_loss
from edgekd.distill.registry import LOSSES
from edgekd.errors import TrainingError
from tests.distill.losses import properties

RANDOM = np.random.default_rng(0)
STUDENT, TEACHER = RANDOM.normal(size=(2, 6, 10)) * 3


def tensors(requires_grad: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(STUDENT, dtype=torch.float32, requires_grad=requires_grad), torch.tensor(TEACHER).float()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_the_value_by_scipy(temperature):
    """T² times the mean over samples of KL(teacher ‖ student)."""
    teacher, student = (softmax(logits / temperature, axis=1) for logits in (TEACHER, STUDENT))
    expected = temperature**2 * rel_entr(teacher, student).sum(1).mean()
    assert float(kd_loss(*tensors(), temperature)) == pytest.approx(expected, rel=1e-5)
    exact = kd_loss(torch.tensor(STUDENT), torch.tensor(TEACHER), temperature)
    assert float(exact) == pytest.approx(expected, rel=1e-12) and exact.dtype == torch.float64


def test_the_gradient_by_hand():
    """T · (softmax(student / T) − softmax(teacher / T)), over the batch size."""
    student, teacher = tensors(requires_grad=True)
    kd_loss(student, teacher, 3.0).backward()
    expected = 3.0 * (softmax(STUDENT / 3, axis=1) - softmax(TEACHER / 3, axis=1)) / 6
    np.testing.assert_allclose(student.grad, expected, atol=1e-6)


def test_high_temperatures_match_logits():
    """Hinton et al., equation 4: for logits of zero mean the gradient tends to (student − teacher) / classes."""
    student, teacher = tensors(requires_grad=True)
    gradients = []
    for temperature in (100.0, 400.0):
        (gradient,) = torch.autograd.grad(kd_loss(student, teacher, temperature), student)
        gradients.append(gradient.numpy())
    centred = [logits - logits.mean(1, keepdims=True) for logits in (STUDENT, TEACHER)]
    limit = (centred[0] - centred[1]) / 10 / 6
    assert np.abs(gradients[1] - limit).max() < 0.02 * np.abs(limit).max()
    assert np.linalg.norm(gradients[0]) == pytest.approx(np.linalg.norm(gradients[1]), rel=0.05)


def test_at_a_temperature_of_one_it_is_the_cross_entropy_less_the_teachers_entropy():
    teacher = softmax(TEACHER, axis=1)
    cross = -(teacher * log_softmax(STUDENT, axis=1)).sum(1).mean()
    entropy = -(teacher * np.log(teacher)).sum(1).mean()
    assert float(kd_loss(*tensors(), 1.0)) == pytest.approx(cross - entropy, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("check", properties.CHECKS)
def test_properties(check, temperature):
    check(KD(temperature))


def test_the_module_is_the_function():
    assert float(KD(temperature=2.0)(*tensors())) == float(kd_loss(*tensors(), 2.0))
    assert float(KD()(*tensors())) == float(kd_loss(*tensors()))
    assert float(KD()(*tensors(), torch.arange(6))) == float(kd_loss(*tensors())), "no labels are looked at"
    assert LOSSES.find("kd") is KD


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf"), "4", True])
def test_temperatures_that_cannot_be(temperature):
    with pytest.raises(TrainingError) as error:
        KD(temperature)
    assert str(error.value) == (
        f"temperature must be a number above 0, got {temperature!r}: "
        "give 1 to take the logits as they are, more (4 is usual) to soften them"
    )


def test_an_unknown_method():
    with pytest.raises(TrainingError, match=r"^unknown distillation method 'kdd' \(did you mean 'd?kd'\?\)"):
        LOSSES.find("kdd")
