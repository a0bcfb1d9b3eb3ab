import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax
from scipy.stats import zscore

from edgekd.distill.losses.dist import DIST
from edgekd.distill.losses.dkd import DKD
from edgekd.distill.losses.kd import KD
from edgekd.distill.standardize import Standardized, standardize
from edgekd.errors import TrainingError
from tests.distill.losses import properties

RANDOM = np.random.default_rng(0)
STUDENT, TEACHER = RANDOM.normal(size=(2, 6, 10)) * 3 + 2
LOSSES = [KD(2.0), DKD(), DIST()]


def of_tensor(x: np.ndarray) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.float32)


def test_the_value_by_scipy():
    np.testing.assert_allclose(standardize(of_tensor(STUDENT)), zscore(STUDENT, axis=1, ddof=0), rtol=1e-5, atol=1e-6)
    exact = standardize(torch.tensor(STUDENT))
    np.testing.assert_allclose(exact, zscore(STUDENT, axis=1, ddof=0), rtol=1e-12)
    assert exact.dtype == torch.float64 and standardize(of_tensor(STUDENT).half()).dtype == torch.float32


def test_kd_of_standardized_logits_by_scipy():
    teacher, student = (softmax(zscore(logits, axis=1) / 2, axis=1) for logits in (TEACHER, STUDENT))
    expected = 4 * rel_entr(teacher, student).sum(1).mean()
    assert float(Standardized(KD(2.0))(of_tensor(STUDENT), of_tensor(TEACHER))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", properties.SEEDS)
def test_a_positive_linear_function_of_the_logits_changes_nothing(seed):
    logits, *_ = properties.examples(seed)
    scale, shift = torch.tensor(np.random.default_rng(seed).uniform(0.1, 100, size=(2, 6, 1)))
    torch.testing.assert_close(standardize(scale * logits + shift), standardize(logits))
    torch.testing.assert_close(standardize(-logits), -standardize(logits))


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_the_papers_properties(classes):
    """Section 4.3: zero mean, standard deviation of 1, the same order, and within ±√(classes − 1)."""
    logits, *_ = properties.examples(0, classes=classes)
    result = standardize(logits)
    torch.testing.assert_close(result.mean(1), torch.zeros(6, dtype=torch.float64))
    torch.testing.assert_close(result.std(1, correction=0), torch.ones(6, dtype=torch.float64))
    assert torch.equal(result.argsort(1), logits.argsort(1))
    one_stands_out = torch.nn.functional.one_hot(torch.tensor([0]), classes) * 1e4
    assert float(standardize(one_stands_out).max()) == pytest.approx((classes - 1) ** 0.5, rel=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, -777.77, 1e4])
@pytest.mark.parametrize("classes", [1, 2, 7, 1000])
def test_constant_logits(value, classes):
    logits = torch.full((3, classes), value, requires_grad=True)
    result = standardize(logits)
    result.square().sum().backward()
    assert torch.equal(result, torch.zeros(3, classes))
    assert logits.grad.isfinite().all()


def test_a_student_without_an_opinion():
    student, (_, teacher, labels) = torch.zeros(6, 10), properties.examples(0)
    for loss in LOSSES:
        properties.check_finite(Standardized(loss), student, teacher.float(), labels)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("check", properties.CHECKS)
def test_properties(check, loss):
    check(Standardized(loss))


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_sees_standardized_logits_and_labels(loss):
    student, teacher, labels = properties.examples(3)
    expected = loss(standardize(student), standardize(teacher), labels)
    assert torch.equal(Standardized(loss)(student, teacher, labels), expected)


def test_only_losses_of_logits():
    with pytest.raises(TrainingError) as error:
        Standardized(torch.nn.MSELoss())
    assert str(error.value) == (
        "only logits can be standardized, and MSELoss is not a LogitLoss: leave standardize out"
    )
