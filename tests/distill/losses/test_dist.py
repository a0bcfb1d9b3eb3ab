import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import pearsonr

from edgekd.distill.losses.dist import DIST, dist_loss
from edgekd.distill.registry import LOSSES
from edgekd.errors import TrainingError
from tests.distill.losses import properties

RANDOM = np.random.default_rng(0)
STUDENT, TEACHER = RANDOM.normal(size=(2, 6, 10)) * 3


def distance(a, b) -> float:
    return np.mean([1 - pearsonr(*rows).statistic for rows in zip(a, b, strict=True)])


def by_scipy(beta: float, gamma: float, temperature: float) -> float:
    student, teacher = (softmax(logits / temperature, axis=1) for logits in (STUDENT, TEACHER))
    return temperature**2 * (beta * distance(student, teacher) + gamma * distance(student.T, teacher.T))


def tensors() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(STUDENT).float(), torch.tensor(TEACHER).float()


@pytest.mark.parametrize("options", [(1.0, 1.0, 1.0), (2.0, 2.0, 4.0), (1.0, 0.0, 1.0), (0.0, 0.5, 2.0)])
def test_the_value_by_scipy(options):
    assert float(dist_loss(*tensors(), *options)) == pytest.approx(by_scipy(*options), rel=1e-5)


def test_students_as_sure_as_they_like():
    """The point of section 3.1: a positive linear function of the teacher's probabilities is related as they are."""
    teacher = softmax(TEACHER, axis=1)
    student = 0.3 * teacher + 0.7 / 10
    inter = dist_loss(torch.tensor(np.log(student)), torch.tensor(TEACHER), gamma=0)
    intra = dist_loss(torch.tensor(np.log(student)), torch.tensor(TEACHER), beta=0)
    assert float(inter) == pytest.approx(0, abs=1e-12)
    assert float(intra) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("seed", properties.SEEDS)
def test_student_and_teacher_may_be_exchanged(seed):
    student, teacher, _ = properties.examples(seed)
    torch.testing.assert_close(dist_loss(student, teacher), dist_loss(teacher, student))


def test_opposite_answers_of_two_classes_cost_the_most():
    logits = torch.tensor([[2.0, -2.0], [-1.0, 1.0], [0.5, -0.5]])
    assert float(dist_loss(logits, -logits, beta=1, gamma=1)) == pytest.approx(4.0, rel=1e-5)
    assert float(dist_loss(logits, -logits, beta=2, gamma=1, temperature=3)) == pytest.approx(9 * 6.0, rel=1e-5)


def test_the_classes_of_a_single_sample_cost_nothing():
    student, teacher = (logits[:1] for logits in tensors())
    probabilities = softmax(STUDENT[0]), softmax(TEACHER[0])
    expected = 1 - pearsonr(*probabilities).statistic
    assert float(dist_loss(student, teacher, gamma=0)) == pytest.approx(expected, rel=1e-5)
    assert float(dist_loss(student, teacher, beta=0)) == 0
    properties.check_finite(DIST(), student, teacher, torch.tensor([-1]))


def test_constant_answers():
    """They have no correlation: of nothing with nothing it costs nothing, of nothing with something a half."""
    _, teacher = tensors()
    constant = torch.zeros(6, 10)
    assert float(dist_loss(constant, constant + 3)) == 0
    assert float(dist_loss(constant, teacher)) == pytest.approx(0.5 + 0.5, rel=1e-5)
    for ours, theirs in [(constant, teacher), (teacher, constant), (constant, constant)]:
        properties.check_finite(DIST(), ours, theirs, torch.tensor([-1] * 6))
    student = constant.clone().requires_grad_()
    dist_loss(student, teacher).backward()
    assert student.grad.abs().max() > 0, "from constant answers there is a way to the teacher's"


def test_classes_that_nobody_answers_matter_less():
    """Their columns' norms are 1e-8, far below 1e-4, and what they say in float32 is not asked for."""
    student, teacher, _ = properties.examples(0)
    student[:, 0], teacher[:, 0] = student[:, 0] - 25, teacher[:, 0] - 25
    inter = dist_loss(student, teacher, gamma=0)
    torch.testing.assert_close(inter, dist_loss(student[:, 1:], teacher[:, 1:], gamma=0), rtol=0.2, atol=0)
    intra, without = (dist_loss(*pair, beta=0) for pair in ((student, teacher), (student[:, 1:], teacher[:, 1:])))
    torch.testing.assert_close(intra * 10, without * 9, rtol=1e-4, atol=0)


@pytest.mark.parametrize("loss", [DIST(), DIST(2.0, 2.0, 4.0), DIST(beta=0.0), DIST(gamma=0.0)])
@pytest.mark.parametrize("check", properties.CHECKS)
def test_properties(check, loss):
    check(loss)


def test_the_module_is_the_function():
    assert float(DIST()(*tensors())) == float(dist_loss(*tensors()))
    assert float(DIST(2.0, 0.5, 4.0)(*tensors())) == float(dist_loss(*tensors(), 2.0, 0.5, 4.0))
    assert float(DIST()(*tensors(), torch.arange(6))) == float(dist_loss(*tensors())), "no labels are looked at"
    assert LOSSES.find("dist") is DIST


def test_options_that_cannot_be():
    with pytest.raises(TrainingError, match="^gamma must be a number of at least 0, got -2: "):
        DIST(gamma=-2)
    with pytest.raises(TrainingError, match="^beta and gamma are all 0, and nothing is learned"):
        DIST(beta=0, gamma=0)
    with pytest.raises(TrainingError, match="^temperature must be a number above 0, got -1: "):
        DIST(temperature=-1)
