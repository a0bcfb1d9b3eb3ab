import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import rel_entr

from edgekd.distill.losses.pkt import PKT, pkt_loss
from edgekd.distill.registry import LOSSES
from tests.distill.losses import feature_properties as features

MAPS = ((6, 3, 2, 4), (6, 5, 2, 2))
VECTORS = ((6, 4), (6, 9))
MIXED = ((6, 3, 2, 2), (6, 7))
ALL = [MAPS, VECTORS, MIXED]


def by_scipy(student: np.ndarray, teacher: np.ndarray) -> float:
    """Each sample's Σ_{j ≠ i} p log(p / q), with 1 − cosine as SciPy's distance."""
    tables = []
    for x in (student, teacher):
        rows = x if x.ndim == 2 else x.mean((2, 3))
        kernel = (2 - cdist(rows, rows, "cosine")) / 2
        np.fill_diagonal(kernel, 0)
        tables.append(kernel / kernel.sum(1, keepdims=True))
    return float(rel_entr(tables[1], tables[0]).sum() / len(student) ** 2)


@pytest.mark.parametrize("shapes", ALL)
def test_the_value_by_scipy(shapes):
    features.check_value(pkt_loss, by_scipy, shapes)


@pytest.mark.parametrize("shapes", ALL)
def test_the_gradient(shapes):
    features.check_gradient(pkt_loss, shapes)


@pytest.mark.parametrize("shapes", ALL)
def test_a_samples_scale_does_not_matter(shapes):
    def scaled(student, teacher, seed):
        factors = torch.from_numpy(np.random.default_rng(seed).uniform(0.1, 10, size=(2, 6)))
        ours, theirs = (
            factor.view(6, *[1] * (x.ndim - 1)) for factor, x in zip(factors, (student, teacher), strict=True)
        )
        return student * ours, teacher * theirs

    features.check_unchanged(pkt_loss, shapes, scaled)
    features.check_samples_are_a_set(pkt_loss, shapes)


def test_features_may_be_rotated():
    def rotated(student, teacher, seed):
        return student @ features.rotation(4, seed), teacher @ features.rotation(9, seed)

    features.check_unchanged(pkt_loss, VECTORS, rotated)


@pytest.mark.parametrize("shapes", ALL)
def test_it_stays_finite(shapes):
    features.check_stability(pkt_loss, shapes)
    features.check_autocast(pkt_loss, shapes)


def test_opposite_samples_stay_finite():
    """Their kernel is 0 in the student and not in the teacher."""
    student = torch.tensor([[1e4, 1.0], [-1e4, -1.0], [1.0, 1e4]], requires_grad=True)
    loss = pkt_loss(student, torch.ones(3, 2))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(student.grad).all()


def test_equal_similarities_cost_nothing():
    student, _ = features.tensors(MAPS)
    assert float(pkt_loss(student, 2 * student)) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("count", [1, 2])
def test_with_nothing_to_pick_it_costs_nothing(count):
    student, teacher = features.tensors(((count, 4), (count, 9)))
    loss = pkt_loss(student.requires_grad_(), teacher)
    loss.backward()
    assert float(loss) == 0 and not student.grad.any()


def test_a_case_by_hand():
    """Three teachers' samples at right angles pick by chance; the student's third is 0 away from the first."""
    student = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 0, 0]])
    first = (np.log(0.5 / (1 / 3)) + np.log(0.5 / (2 / 3))) / 2
    assert float(pkt_loss(student, torch.eye(3))) == pytest.approx(2 * first / 9, rel=1e-5)


def test_the_module_is_the_mean_of_the_function_over_pairs():
    pairs = [features.tensors(shapes) for shapes in ALL]
    module = PKT([pair[0].shape[1:] for pair in pairs], [pair[1].shape[1:] for pair in pairs])
    ours = module([student for student, _ in pairs], [teacher for _, teacher in pairs])
    torch.testing.assert_close(ours, sum(pkt_loss(*pair) for pair in pairs) / 3)
    assert LOSSES.find("pkt") is PKT and not list(module.parameters())
