import numpy as np
import pytest
import torch

from edgekd.distill.losses.sp import SP, sp_loss
from edgekd.distill.registry import LOSSES
from tests.distill.losses import feature_properties as features

MAPS = ((6, 3, 2, 4), (6, 5, 2, 2))
VECTORS = ((6, 4), (6, 9))
MIXED = ((6, 3, 2, 2), (6, 7))
ALL = [MAPS, VECTORS, MIXED]


def by_numpy(student: np.ndarray, teacher: np.ndarray) -> float:
    count = len(student)
    grams = []
    for x in (student, teacher):
        rows = x.reshape(count, -1)
        gram = np.array([[a @ b for b in rows] for a in rows])
        grams.append(np.array([row / np.sqrt((row**2).sum()) for row in gram]))
    return float(np.linalg.norm(grams[1] - grams[0], "fro") ** 2 / count**2)


@pytest.mark.parametrize("shapes", ALL)
def test_the_value_by_numpy(shapes):
    features.check_value(sp_loss, by_numpy, shapes)


@pytest.mark.parametrize("shapes", ALL)
def test_the_gradient(shapes):
    features.check_gradient(sp_loss, shapes)


@pytest.mark.parametrize("shapes", ALL)
def test_a_networks_scale_and_the_order_of_samples_do_not_matter(shapes):
    features.check_samples_are_a_set(sp_loss, shapes)
    features.check_unchanged(
        sp_loss, shapes, lambda student, teacher, seed: (student * (seed + 0.5), teacher / (seed + 3))
    )


def test_features_may_be_rotated():
    def rotated(student, teacher, seed):
        return student @ features.rotation(4, seed), teacher @ features.rotation(9, seed)

    features.check_unchanged(sp_loss, VECTORS, rotated)


@pytest.mark.parametrize("shapes", ALL)
def test_it_stays_finite(shapes):
    features.check_stability(sp_loss, shapes)
    features.check_autocast(sp_loss, shapes)


@pytest.mark.parametrize("shape", [(6, 3, 4, 4), (1, 8)])
def test_equal_similarities_cost_nothing(shape):
    student, _ = features.tensors((shape, shape))
    assert float(sp_loss(student, 2 * student)) == pytest.approx(0, abs=1e-15)


def test_a_batch_of_one_costs_nothing():
    loss = sp_loss(*features.tensors(((1, 4), (1, 9))))
    assert float(loss) == pytest.approx(0, abs=1e-15)


def test_a_case_by_hand():
    """Orthogonal samples against equal ones: rows (1, 0) and (0, 1) against (1, 1) / √2."""
    loss = sp_loss(torch.eye(2), torch.ones(2, 3))
    assert float(loss) == pytest.approx((2 * (1 - 0.5**0.5) ** 2 + 2 * 0.5) / 4)


def test_the_module_is_the_mean_of_the_function_over_pairs():
    pairs = [features.tensors(shapes) for shapes in ALL]
    module = SP([pair[0].shape[1:] for pair in pairs], [pair[1].shape[1:] for pair in pairs])
    ours = module([student for student, _ in pairs], [teacher for _, teacher in pairs])
    torch.testing.assert_close(ours, sum(sp_loss(*pair) for pair in pairs) / 3)
    assert LOSSES.find("sp") is SP and not list(module.parameters())
