import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from edgekd.distill.losses.dkd import DKD, dkd_loss
from edgekd.distill.losses.kd import kd_loss
from edgekd.distill.registry import LOSSES
from edgekd.errors import TrainingError
from tests.distill.losses import properties

RANDOM = np.random.default_rng(0)
STUDENT, TEACHER = RANDOM.normal(size=(2, 6, 10)) * 3
LABELS = np.array([3, 0, 9, 5, 5, 1])


def of_sample(student, teacher, label: int, temperature: float) -> tuple[float, float]:
    """TCKD and NCKD of one sample, from the definitions above equation 4."""
    student, teacher = softmax(student / temperature), softmax(teacher / temperature)
    tckd = rel_entr([teacher[label], 1 - teacher[label]], [student[label], 1 - student[label]]).sum()
    theirs, ours = (np.delete(p, label) / (1 - p[label]) for p in (teacher, student))
    return tckd, rel_entr(theirs, ours).sum()


def by_scipy(labels, alpha: float, beta: float, temperature: float) -> float:
    parts = [of_sample(*each, temperature) for each in zip(STUDENT, TEACHER, labels, strict=True)]
    return temperature**2 * np.mean([alpha * tckd + beta * nckd for tckd, nckd in parts])


def tensors() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(STUDENT).float(), torch.tensor(TEACHER).float()


@pytest.mark.parametrize("options", [(1.0, 8.0, 4.0), (1.0, 0.0, 1.0), (0.0, 2.0, 2.0), (0.5, 0.5, 20.0)])
def test_the_value_by_scipy(options):
    loss = dkd_loss(*tensors(), torch.tensor(LABELS), *options)
    assert float(loss) == pytest.approx(by_scipy(LABELS, *options), rel=1e-5)


def test_the_teachers_answer_stands_for_a_label_that_is_missing():
    answers = TEACHER.argmax(1)
    assert float(dkd_loss(*tensors())) == pytest.approx(by_scipy(answers, 1, 8, 4), rel=1e-5)
    some = np.where([True, False, True, False, False, True], LABELS, answers)
    given = torch.tensor(np.where(some == LABELS, LABELS, -1))
    assert float(dkd_loss(*tensors(), given)) == pytest.approx(by_scipy(some, 1, 8, 4), rel=1e-5)


@pytest.mark.parametrize("sample", range(6))
def test_kd_is_tckd_and_what_the_teacher_leaves_to_the_others_times_nckd(sample):
    """Equation 6."""
    student, teacher = (torch.tensor(logits[sample : sample + 1]) for logits in (STUDENT, TEACHER))
    left = 1 - softmax(TEACHER[sample] / 4)[LABELS[sample]]
    loss = dkd_loss(student, teacher, torch.tensor(LABELS[sample : sample + 1]), 1.0, left, 4.0)
    assert float(loss) == pytest.approx(float(kd_loss(student, teacher, 4.0)), rel=1e-9)


def test_of_two_classes_it_is_kd():
    """There is one other class, and nothing to tell about it."""
    student, teacher, labels = properties.examples(0, classes=2)
    torch.testing.assert_close(dkd_loss(student, teacher, labels), kd_loss(student, teacher))


def test_how_the_others_share_is_not_tckds_concern():
    student, teacher, _ = properties.examples(1)
    labels = torch.zeros(len(student), dtype=torch.long)
    shuffled = torch.cat([student[:, :1], student[:, 1:].flip(1)], dim=1)
    torch.testing.assert_close(dkd_loss(shuffled, teacher, labels, beta=0), dkd_loss(student, teacher, labels, beta=0))


def test_how_sure_of_the_target_is_not_nckds_concern():
    student, teacher, _ = properties.examples(2)
    labels = torch.full((len(student),), 4)
    surer = student.clone()
    surer[:, 4] += 7
    torch.testing.assert_close(dkd_loss(surer, teacher, labels, alpha=0), dkd_loss(student, teacher, labels, alpha=0))


def test_what_a_sure_teacher_knows_of_the_others_is_not_lost_to_rounding():
    """The target's probability is 1 in float32, and its logarithm, the others' and their shares are still right."""
    others = np.array([0.0, 1.0, -2.0])
    teacher, student = np.array([40.0, *others]), np.array([60.0, *-others])
    value = dkd_loss(*(torch.tensor(x).float()[None] for x in (student, teacher)), alpha=1, beta=1, temperature=1)
    expected = rel_entr(softmax(others), softmax(-others)).sum()
    assert float(value) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [DKD(), DKD(temperature=1.0), DKD(alpha=0.0), DKD(beta=0.0)])
@pytest.mark.parametrize("check", properties.CHECKS)
def test_properties(check, loss):
    check(loss)


def test_the_module_is_the_function():
    labels = torch.tensor(LABELS)
    assert float(DKD()(*tensors(), labels)) == float(dkd_loss(*tensors(), labels))
    assert float(DKD()(*tensors())) == float(dkd_loss(*tensors()))
    assert float(DKD(0.5, 2.0, 3.0)(*tensors(), labels)) == float(dkd_loss(*tensors(), labels, 0.5, 2.0, 3.0))
    assert LOSSES.find("dkd") is DKD


@pytest.mark.parametrize("options", [{"alpha": -1.0}, {"beta": float("nan")}, {"beta": float("inf")}, {"alpha": "1"}])
def test_weights_that_cannot_be(options):
    ((name, value),) = options.items()
    with pytest.raises(TrainingError) as error:
        DKD(**options)
    assert str(error.value) == (
        f"{name} must be a number of at least 0, got {value!r}: give 0 to leave its part of the loss out"
    )


def test_other_options_that_cannot_be():
    with pytest.raises(TrainingError) as error:
        DKD(alpha=0, beta=0)
    assert str(error.value) == (
        "alpha and beta are all 0, and nothing is learned from the teacher: give one of them more than 0"
    )
    with pytest.raises(TrainingError, match="^temperature must be a number above 0, got 0: "):
        DKD(temperature=0)


def test_one_class_has_no_others():
    with pytest.raises(
        TrainingError, match="^dkd separates the target class from the others, and the logits are of 1 "
    ):
        dkd_loss(torch.zeros(3, 1), torch.zeros(3, 1))
