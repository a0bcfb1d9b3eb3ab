import numpy as np
import pytest
import torch

from edgekd.distill.losses.at import AT, at_loss
from edgekd.distill.registry import LOSSES
from edgekd.errors import TrainingError
from tests.distill.losses import feature_properties as features

EQUAL = ((5, 3, 3, 3), (5, 6, 3, 3))
SMALLER = ((5, 3, 2, 4), (5, 2, 1, 2))
LARGER = ((5, 2, 3, 2), (5, 3, 6, 4))
ALL = [EQUAL, SMALLER, LARGER]


def by_numpy(student: np.ndarray, teacher: np.ndarray) -> float:
    """Equation 2 by sums of |A|², and the mean of squares in place of the norm."""
    height, width = min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])
    maps = []
    for x in (student, teacher):
        attention = (np.abs(x) ** 2).sum(1)
        cells = attention.reshape(len(x), height, x.shape[2] // height, width, x.shape[3] // width).mean((2, 4))
        maps.append([cell.ravel() / np.linalg.norm(cell) for cell in cells])
    return float(np.mean((np.array(maps[0]) - np.array(maps[1])) ** 2))


@pytest.mark.parametrize("shapes", ALL)
def test_the_value_by_numpy(shapes):
    features.check_value(at_loss, by_numpy, shapes)


@pytest.mark.parametrize("shapes", ALL)
def test_the_gradient(shapes):
    features.check_gradient(at_loss, shapes)


@pytest.mark.parametrize("shapes", ALL)
def test_a_samples_scale_does_not_matter(shapes):
    def scaled(student, teacher, seed):
        factors = torch.from_numpy(np.random.default_rng(seed).uniform(0.1, 10, size=(2, 5, 1, 1, 1)))
        return student * factors[0], teacher * factors[1]

    features.check_unchanged(at_loss, shapes, scaled)


@pytest.mark.parametrize("shapes", ALL)
def test_the_order_of_channels_and_samples_does_not_matter(shapes):
    features.check_samples_are_a_set(at_loss, shapes)
    features.check_unchanged(at_loss, shapes, lambda student, teacher, seed: (student.flip(1), teacher))


def test_channels_may_be_rotated():
    """Attention is the energy at a place."""

    def rotated(student, teacher, seed):
        return torch.einsum("dc,nchw->ndhw", features.rotation(3, seed), student), teacher

    features.check_unchanged(at_loss, EQUAL, rotated)


def test_places_permuted_in_both_do_not_matter():
    features.check_unchanged(at_loss, EQUAL, lambda student, teacher, seed: (student.mT.flip(2), teacher.mT.flip(2)))


@pytest.mark.parametrize("shapes", ALL)
def test_it_stays_finite(shapes):
    features.check_stability(at_loss, shapes)
    features.check_autocast(at_loss, shapes)


def test_equal_attention_costs_nothing_and_has_no_gradient():
    student, _ = features.tensors(EQUAL)
    loss = at_loss(student.requires_grad_(), torch.cat([student, student], 1).detach() * 2)
    loss.backward()
    assert float(loss) == pytest.approx(0, abs=1e-15) and student.grad.abs().max() < 1e-9


def test_the_most_it_can_cost():
    """All attention at two different places: 2 of 4 entries are 1 apart."""
    student, teacher = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    student[..., 0, 0], teacher[..., 1, 1] = 3, -7
    assert float(at_loss(student, teacher)) == 0.5


def test_the_module_is_the_mean_of_the_function_over_pairs():
    pairs = [features.tensors(shapes) for shapes in ALL]
    module = AT([pair[0].shape[1:] for pair in pairs], [pair[1].shape[1:] for pair in pairs])
    ours = module([student for student, _ in pairs], [teacher for _, teacher in pairs])
    torch.testing.assert_close(ours, sum(at_loss(*pair) for pair in pairs) / 3)
    assert LOSSES.find("at") is AT and not list(module.parameters())


@pytest.mark.parametrize(("student", "teacher"), [((3,), (5,)), ((3, 4, 4), (5,)), ((3, 4, 4), (5, 1, 1))])
def test_what_has_no_places_is_refused(student, teacher):
    with pytest.raises(TrainingError, match="of more than one: choose layers before the pooling$"):
        AT([student], [teacher])
