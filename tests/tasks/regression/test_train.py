"""Losses against calculations by hand and by NumPy."""

import numpy as np
import pytest
import torch

from edgekd.errors import TrainingError
from edgekd.tasks.regression import Regression
from edgekd.tasks.regression.train import bounded_smooth_l1, smooth_l1
from edgekd.tasks.signature import LOGITS
from tests.tasks.regression.drawn import NAMES, drawn

TASK = Regression(NAMES, mean=(180, 35, 56), deviation=(25, 3, 7))


def huber(distance: np.ndarray) -> np.ndarray:
    size = np.abs(distance)
    return np.where(size < 1, distance**2 / 2, size - 0.5)


def test_smooth_l1_of_what_is_known():
    outputs, values = drawn()
    outputs[0] += 5
    values[::4, 2] = np.nan
    known = ~np.isnan(values)
    distance = (outputs - (values - np.array(TASK.mean)) / np.array(TASK.deviation))[known]
    targets = {name: torch.tensor(each) for name, each in TASK.targets(values).items()}
    found = TASK.loss({LOGITS: torch.tensor(outputs)}, targets)["labels"]
    assert float(found) == pytest.approx(huber(distance).mean(), rel=1e-5)
    nothing = smooth_l1(torch.ones(2, 1, requires_grad=True), torch.ones(2, 1), torch.zeros(2, 1, dtype=torch.bool))
    nothing.backward()
    assert float(nothing) == 0
    with pytest.raises(TrainingError, match="label_smoothing is 0.1, and the targets are numbers"):
        TASK.loss({LOGITS: torch.tensor(outputs)}, targets, 0.1)


def test_a_teacher_that_is_further_from_the_target_teaches_nothing():
    student, teacher = torch.tensor([[0.5, 0.5, 3.0, 0.5]]), torch.tensor([[0.2, 0.9, 0.0, 0.9]])
    targets = torch.tensor([[0.0, 0.0, 0.0, np.nan]])
    # Nearer to the target than the student: the first and the third; the fourth target is not known.
    expected = (0.3**2 / 2 + 2.5 + 0.4**2 / 2) / 4
    assert float(bounded_smooth_l1(student, teacher, targets)) == pytest.approx(expected)
    every = (0.3**2 / 2 + 0.4**2 / 2 + 2.5 + 0.4**2 / 2) / 4
    assert float(bounded_smooth_l1(student, teacher)) == pytest.approx(every)
    assert float(bounded_smooth_l1(student, teacher, targets, margin=0.5)) == pytest.approx(every)
    assert float(bounded_smooth_l1(teacher, teacher, targets)) == 0


def test_the_task_standardises_targets_for_the_teacher_too():
    outputs, values = drawn()
    student, teacher = torch.tensor(outputs), torch.tensor(drawn(error=0.2, seed=1)[0])
    targets = {name: torch.tensor(each) for name, each in TASK.targets(values).items()}
    exact = torch.tensor((values - np.array(TASK.mean)) / np.array(TASK.deviation)).float()
    found = TASK.soft_loss({LOGITS: student}, {LOGITS: teacher}, targets)["teacher"]
    torch.testing.assert_close(found, bounded_smooth_l1(student, teacher, exact), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        TASK.soft_loss({LOGITS: student}, {LOGITS: teacher}, {})["teacher"], bounded_smooth_l1(student, teacher)
    )


def test_what_stands_in_place_of_an_unknown_target_bounds_no_teacher():
    """By hand: the teacher is further from the placeholder's 0 than the student, and counts all the same."""
    task = Regression(("a", "b"), mean=(10, 0), deviation=(2, 1))
    student, teacher = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.2, 0.9]])
    known = {"values": torch.tensor([[10.0, 0.0]]), "known": torch.tensor([[True, False]])}
    found = task.soft_loss({LOGITS: student}, {LOGITS: teacher}, known)["teacher"]
    assert float(found) == pytest.approx((0.3**2 / 2 + 0.4**2 / 2) / 2)
    all_known = {**known, "known": torch.tensor([[True, True]])}
    found = task.soft_loss({LOGITS: student}, {LOGITS: teacher}, all_known)["teacher"]
    assert float(found) == pytest.approx(0.3**2 / 2 / 2)


def test_divergence_is_that_of_normal_distributions():
    ours, theirs = (torch.tensor(drawn(seed=seed)[0]) for seed in (0, 1))
    wide, exact = (torch.distributions.Normal(each.double(), 1.0) for each in (ours, theirs))
    expected = torch.distributions.kl_divergence(exact, wide).sum(1)
    torch.testing.assert_close(TASK.divergence({LOGITS: ours}, {LOGITS: theirs}), expected.float())
