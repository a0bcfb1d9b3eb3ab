import numpy as np
import pytest
import torch

from edgekd.distill.losses.cwd import CWD, cwd_loss
from edgekd.distill.registry import LOSSES
from edgekd.errors import TrainingError
from tests.distill.losses import feature_properties as features

MAPS = ((6, 3, 2, 4), (6, 3, 2, 4))


def by_numpy(student: np.ndarray, teacher: np.ndarray, temperature: float = 4.0) -> float:
    total = 0.0
    for own, reference in zip(student, teacher, strict=True):
        for ours, theirs in zip(own, reference, strict=True):
            p, q = (np.exp(each.ravel() / temperature) for each in (theirs, ours))
            p, q = p / p.sum(), q / q.sum()
            total += float((p * np.log(p / q)).sum())
    return temperature**2 * total / (len(student) * student.shape[1])


def test_the_value_by_numpy():
    features.check_value(cwd_loss, by_numpy, MAPS)


def test_the_gradient():
    features.check_gradient(cwd_loss, MAPS)


def test_the_order_of_samples_and_a_channels_level_do_not_matter():
    features.check_samples_are_a_set(cwd_loss, MAPS)
    features.check_unchanged(cwd_loss, MAPS, lambda student, teacher, seed: (student + seed, teacher - 2 * seed))


def test_equal_channels_cost_nothing():
    student, _ = features.tensors(MAPS)
    assert float(cwd_loss(student, student + 3)) == pytest.approx(0, abs=1e-12)


def test_the_module():
    student, teacher = features.tensors(MAPS, dtype=torch.float32)
    module = CWD([MAPS[0][1:]], [MAPS[1][1:]], temperature=2.0)
    torch.testing.assert_close(module([student], [teacher]), cwd_loss(student, teacher, 2.0))
    assert LOSSES.find("cwd") is CWD and not list(module.parameters())
    assert list(CWD([(3, 2, 4)], [(5, 2, 4)]).parameters())
    assert CWD.default_layers([(4, 8, 8), (8, 4, 4), (8, 1, 1), (8,)]) == [1]
    with pytest.raises(TrainingError, match="a channel is spread over the positions of a map"):
        CWD([(3, 1, 1)], [(3, 2, 2)])
    with pytest.raises(TrainingError, match="temperature must be a number above 0"):
        CWD([(3, 2, 2)], [(3, 2, 2)], temperature=0)
