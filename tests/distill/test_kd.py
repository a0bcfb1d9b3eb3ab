import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax

from edgekd.distill import KD, LOSSES, kd_loss
from edgekd.errors import TrainingError

RANDOM = np.random.default_rng(0)
STUDENT, TEACHER = RANDOM.normal(size=(2, 6, 10)) * 3


def tensors(requires_grad: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(STUDENT, dtype=torch.float32, requires_grad=requires_grad), torch.tensor(TEACHER).float()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_the_value_by_scipy(temperature):
    """T² times the mean over samples of KL(teacher ‖ student)."""
    teacher, student = (softmax(logits / temperature, axis=1) for logits in (TEACHER, STUDENT))
    expected = temperature**2 * rel_entr(teacher, student).sum(1).mean()
    assert float(kd_loss(*tensors(), temperature)) == pytest.approx(expected, rel=1e-4)


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


def test_equal_logits_cost_nothing():
    student, _ = tensors()
    assert float(kd_loss(student, student)) == pytest.approx(0, abs=1e-6)
    assert float(kd_loss(student, student + 5)) == pytest.approx(0, abs=1e-5), "softmax does not see a shift"


def test_at_a_temperature_of_one_it_is_the_cross_entropy_less_the_teachers_entropy():
    teacher = softmax(TEACHER, axis=1)
    cross = -(teacher * log_softmax(STUDENT, axis=1)).sum(1).mean()
    entropy = -(teacher * np.log(teacher)).sum(1).mean()
    assert float(kd_loss(*tensors(), 1.0)) == pytest.approx(cross - entropy, rel=1e-4)


def test_large_logits_stay_finite():
    student, teacher = torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]])
    assert torch.isfinite(kd_loss(student, teacher, 1.0))
    assert kd_loss(student.bfloat16(), teacher.bfloat16()).dtype == torch.float32


def test_the_module_is_the_function():
    assert float(KD(temperature=2.0)(*tensors())) == float(kd_loss(*tensors(), 2.0))
    assert LOSSES.find("kd") is KD


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_temperatures_that_cannot_be(temperature):
    with pytest.raises(ValueError, match=f"^temperature must be above 0, got {temperature}$"):
        KD(temperature)


def test_an_unknown_method():
    with pytest.raises(TrainingError) as error:
        LOSSES.find("kdd")
    assert str(error.value) == "unknown distillation method 'kdd' (did you mean 'kd'?); known: kd"
