import numpy as np
import pytest
import torch

from edgekd.distill.losses.pkd import PKD, pkd_loss
from edgekd.distill.registry import LOSSES
from tests.distill.losses import feature_properties as features

MAPS = ((6, 3, 4, 4), (6, 3, 4, 4))
VECTORS = ((8, 4), (8, 4))
ALL = [MAPS, VECTORS]


def by_numpy(student: np.ndarray, teacher: np.ndarray) -> float:
    """1 − Pearson's correlation, channel by channel, by NumPy's own."""
    pairs = zip(student.swapaxes(0, 1), teacher.swapaxes(0, 1), strict=True)
    return float(np.mean([1 - np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] for ours, theirs in pairs]))


@pytest.mark.parametrize("shapes", ALL)
def test_the_value_by_numpy(shapes):
    student, teacher = features.tensors(shapes)
    assert float(pkd_loss(student, teacher)) == pytest.approx(by_numpy(student.numpy(), teacher.numpy()), abs=1e-5)


@pytest.mark.parametrize("shapes", ALL)
def test_it_is_half_the_squared_difference_of_normalised_channels(shapes):
    student, teacher = features.tensors(shapes)
    normal = [(x - x.mean(axes, keepdims=True)) / x.std(axes, keepdims=True) for x in (student.numpy(), teacher.numpy())
              for axes in [tuple(axis for axis in range(x.ndim) if axis != 1)]]  # fmt: skip
    assert float(pkd_loss(student, teacher)) == pytest.approx(
        float(np.square(normal[0] - normal[1]).mean() / 2), abs=1e-5
    )


def test_scale_and_shift_of_channels_do_not_matter_and_opposites_cost_most():
    student, _ = features.tensors(MAPS)
    assert float(pkd_loss(student, 7 * student + 3)) == pytest.approx(0, abs=1e-5)
    assert float(pkd_loss(student, -student)) == pytest.approx(2, abs=1e-5)
    assert float(pkd_loss(student, torch.ones_like(student))) == pytest.approx(1)


@pytest.mark.parametrize("shapes", ALL)
def test_the_gradient_and_that_it_stays_finite(shapes):
    features.check_gradient(pkd_loss, shapes)
    features.check_autocast(pkd_loss, shapes)


def test_the_module_adapts_other_widths_alone():
    module = PKD([(3, 8, 8), (3, 4, 4)], [(3, 8, 8), (5, 2, 2)])
    pairs = [features.tensors(shapes) for shapes in (((4, 3, 8, 8), (4, 3, 8, 8)), ((4, 3, 4, 4), (4, 5, 2, 2)))]
    found = module([student for student, _ in pairs], [teacher for _, teacher in pairs])
    adapted = module.adapters[1](pairs[1][0])
    torch.testing.assert_close(found, (pkd_loss(*pairs[0]) + pkd_loss(adapted, pairs[1][1])) / 2)
    assert LOSSES.find("pkd") is PKD and not list(module.adapters[0].parameters())
