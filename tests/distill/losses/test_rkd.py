from itertools import product

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.special import huber

from edgekd.distill.losses.rkd import RKD, rkd_angle_loss, rkd_distance_loss
from edgekd.distill.registry import LOSSES
from edgekd.errors import TrainingError
from tests.distill.losses import feature_properties as features

MAPS = ((5, 3, 2, 4), (5, 6, 2, 2))
VECTORS = ((5, 4), (5, 9))
MIXED = ((5, 4, 2, 2), (5, 7))
ALL = [MAPS, VECTORS, MIXED]
LOSS = {"distance": rkd_distance_loss, "angle": rkd_angle_loss}


def pooled(x: np.ndarray) -> np.ndarray:
    return x if x.ndim == 2 else x.mean((2, 3))


def distances_by_scipy(student: np.ndarray, teacher: np.ndarray) -> float:
    ours, theirs = (pdist(pooled(x)) / pdist(pooled(x)).mean() for x in (student, teacher))
    return 2 * huber(1, ours - theirs).sum() / len(student) ** 2


def angles_by_hand(student: np.ndarray, teacher: np.ndarray) -> float:
    def cosine(x: np.ndarray, i: int, j: int, k: int) -> float:
        to_i, to_k = x[i] - x[j], x[k] - x[j]
        return to_i @ to_k / np.linalg.norm(to_i) / np.linalg.norm(to_k)

    count = len(student)
    triples = [each for each in product(range(count), repeat=3) if len(set(each)) == 3]
    off = [cosine(pooled(student), *each) - cosine(pooled(teacher), *each) for each in triples]
    return huber(1, np.array(off)).sum() / count**3


@pytest.mark.parametrize("shapes", ALL)
def test_the_values_by_scipy_and_by_hand(shapes):
    features.check_value(rkd_distance_loss, distances_by_scipy, shapes)
    features.check_value(rkd_angle_loss, angles_by_hand, shapes)


def test_distances_of_zero_are_not_in_the_mean():
    """One of five points is off, another one in the other network: six pairs are 1 in one and 0 in the other."""
    student, teacher = torch.tensor([[0.0], [0], [0], [0], [9]]), torch.tensor([[5.0], [0], [0], [0], [0]])
    assert float(rkd_distance_loss(student, teacher)) == pytest.approx(2 * 6 * 0.5 / 25)


def test_a_large_difference_counts_by_its_size():
    """Huber's linear part."""
    student = np.array([[0.0], [1], [0], [1], [0], [1], [50]])
    ours, theirs = (pdist(x) / pdist(x)[pdist(x) > 0].mean() for x in (student, student[::-1]))
    assert abs(ours - theirs).max() > 2
    loss = rkd_distance_loss(torch.from_numpy(student), torch.from_numpy(student[::-1].copy()))
    assert float(loss) == pytest.approx(2 * huber(1, ours - theirs).sum() / 49)


@pytest.mark.parametrize("name", LOSS)
@pytest.mark.parametrize("shapes", ALL)
def test_the_gradient(name, shapes):
    features.check_gradient(LOSS[name], shapes)


@pytest.mark.parametrize("name", LOSS)
@pytest.mark.parametrize("shapes", ALL)
def test_scale_shift_and_the_order_of_samples_do_not_matter(name, shapes):
    features.check_samples_are_a_set(LOSS[name], shapes)
    features.check_unchanged(
        LOSS[name], shapes, lambda student, teacher, seed: (student * (seed + 0.5) + seed, teacher / (seed + 3) - seed)
    )


@pytest.mark.parametrize("name", LOSS)
def test_features_may_be_rotated(name):
    def rotated(student, teacher, seed):
        return student @ features.rotation(4, seed), teacher @ features.rotation(9, seed)

    features.check_unchanged(LOSS[name], VECTORS, rotated)


@pytest.mark.parametrize("name", LOSS)
@pytest.mark.parametrize("shapes", ALL)
def test_it_stays_finite(name, shapes):
    features.check_stability(LOSS[name], shapes)
    features.check_autocast(LOSS[name], shapes)


@pytest.mark.parametrize("name", LOSS)
def test_equal_relations_cost_nothing(name):
    student, _ = features.tensors(MAPS)
    assert float(LOSS[name](student, 2 * student + 1)) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("name", LOSS)
def test_a_batch_of_one_costs_nothing(name):
    student, teacher = features.tensors(((1, 4), (1, 9)))
    loss = LOSS[name](student.requires_grad_(), teacher)
    loss.backward()
    assert float(loss) == 0 and not student.grad.any()


def test_a_far_shift_does_not_blur_near_points():
    """In float32, by inner products, the squares of distances of 1 would be lost beside those of 10⁴."""
    points = torch.tensor([[0.0, 0], [1, 0], [0, 2]])
    assert float(rkd_distance_loss(points + 1e4, points)) == 0


def test_the_module_is_the_weighted_sum_of_the_functions_over_pairs():
    pairs = [features.tensors(shapes) for shapes in ALL]
    inputs = [student for student, _ in pairs], [teacher for _, teacher in pairs]
    shapes = [pair[0].shape[1:] for pair in pairs], [pair[1].shape[1:] for pair in pairs]
    distances, angles = (sum(loss(*pair) for pair in pairs) / 3 for loss in LOSS.values())
    torch.testing.assert_close(RKD(*shapes)(*inputs), 25 * distances + 50 * angles)
    torch.testing.assert_close(RKD(*shapes, distance_weight=1, angle_weight=2)(*inputs), distances + 2 * angles)
    torch.testing.assert_close(RKD(*shapes, distance_weight=0)(*inputs), 50 * angles)
    assert LOSSES.find("rkd") is RKD


@pytest.mark.parametrize(("distance", "angle"), [(0, 0), (-1, 50), (25, float("nan")), (float("inf"), 1)])
def test_weights_that_cannot_be(distance, angle):
    with pytest.raises(TrainingError) as error:
        RKD([(4,)], [(5,)], distance_weight=distance, angle_weight=angle)
    assert str(error.value) == (
        f"rkd's weights must be at least 0 and not both 0, and are {distance} of distances and {angle} of angles: "
        "the paper's are 25 and 50"
    )
