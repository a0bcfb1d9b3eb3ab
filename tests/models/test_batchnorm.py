import copy

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.errors import TrainingError
from edgekd.models.batchnorm import reestimate


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 4, 1)).eval()


def test_statistics_are_the_average_over_the_batches():
    changed = network()
    batches = [torch.randn(8, 3, 6, 6) * size + size for size in (1.0, 2.0, 4.0)]
    assert reestimate(changed, batches) == 1
    with torch.no_grad():
        seen = [changed[0](batch).double().numpy() for batch in batches]
    mean = np.mean([each.mean((0, 2, 3)) for each in seen], 0)
    variance = np.mean([each.var((0, 2, 3), ddof=1) for each in seen], 0)
    np.testing.assert_allclose(changed[1].running_mean, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(changed[1].running_var, variance, rtol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_nothing_else_changes(training):
    changed = network().train(training)
    changed[1].momentum = 0.3
    before = copy.deepcopy(changed)
    reestimate(changed, [torch.randn(8, 3, 6, 6)])
    for ours, theirs in zip(changed.parameters(), before.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert [module.training for module in changed.modules()] == [training] * 6
    assert changed[1].momentum == 0.3


def test_the_statistics_of_before_are_forgotten():
    changed, batch = network(), torch.randn(8, 3, 6, 6)
    changed[1].running_mean.fill_(1e6)
    reestimate(changed, [batch])
    fresh = network()
    reestimate(fresh, [batch])
    assert torch.equal(changed[1].running_mean, fresh[1].running_mean)


def test_without_batchnorm_no_batch_is_asked_for():
    def never():
        raise AssertionError("a batch was asked for")
        yield

    assert reestimate(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), never()) == 0


def test_a_single_value_has_no_variance():
    changed = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4)).train()
    with pytest.raises(TrainingError, match=r"cannot be estimated from a batch of one sample: Expected more than 1"):
        reestimate(changed, [torch.randn(8, 3, 2, 2), torch.randn(1, 3, 2, 2)])
    assert all(module.training for module in changed.modules())
