import math

import torch
from torch import nn

from edgekd.models.batchnorm import NORMS
from edgekd.train import CrossEntropy, FitOptions, Train, fit, metric_of
from edgekd.train.first_statistics import FirstStatistics
from tests.train.test_loop import small


def decayed(values: list[torch.Tensor]) -> torch.Tensor:
    """The closed form of the averaging with η = 9: the k-th of the values, from 0, counts as C(k + 9, 9)."""
    weights = torch.tensor([float(math.comb(number + 9, 9)) for number in range(len(values))], dtype=torch.float64)
    return (torch.stack(values).double().T @ (weights / weights.sum())).float()


def test_the_latest_batches_count_most_until_one_counts_for_less_than_the_momentum():
    torch.manual_seed(0)
    slow, usual, loaded = nn.BatchNorm1d(3, momentum=0.05), nn.BatchNorm1d(3), nn.BatchNorm1d(3, momentum=0.01)
    loaded.running_mean.fill_(0.5)
    network = nn.ModuleList([slow, usual, loaded, nn.BatchNorm1d(3, momentum=None)]).train()
    first, batches = FirstStatistics(network), [0.01 * torch.randn(8, 3) + 2 for _ in range(210)]
    assert first.unsettled == [slow]
    for number, batch in enumerate(batches):
        first.before_step()
        slow(batch)
        if number in (0, 50, 190):
            seen = batches[: number + 1]
            torch.testing.assert_close(slow.running_mean, decayed([each.mean(0) for each in seen]))
            torch.testing.assert_close(slow.running_var, decayed([each.var(0) for each in seen]))
    assert first.unsettled == [] and slow.momentum == 0.05
    expected = decayed([each.mean(0) for each in batches[:191]])
    for batch in batches[191:]:
        expected = 0.95 * expected + 0.05 * batch.mean(0)
    torch.testing.assert_close(slow.running_mean, expected)


def test_a_short_training_of_slow_layers_is_evaluated_by_what_they_saw_and_leaves_their_momentum(few_digits):
    network = small()
    norms = [module for module in network.modules() if isinstance(module, NORMS)]
    for norm in norms:
        norm.momentum = 0.001
    fit(network, few_digits, Train(epochs=8, lr=0.1), CrossEntropy(), FitOptions(float32=True))
    assert {norm.momentum for norm in norms} == {0.001}
    # With 0.001 all the time it would be 0.1, that of a guess.
    assert metric_of(network, few_digits, few_digits.train) > 0.4


def test_statistics_of_a_few_batches_are_averaged_on_and_those_of_many_are_left():
    few, many, usual = nn.BatchNorm1d(2, momentum=0.01), nn.BatchNorm1d(2, momentum=0.01), nn.BatchNorm1d(2)
    few.num_batches_tracked.fill_(16), many.num_batches_tracked.fill_(2000), usual.num_batches_tracked.fill_(16)
    first = FirstStatistics(nn.ModuleList([few, many, usual]))
    momenta = []
    for _ in range(100):
        first.before_step()
        momenta.append(few.momentum)
    # The mean of 16 batches is not thrown away for that of the last few.
    assert momenta[:75] == [0.1] * 75 and momenta[75:] == [10 / (number + 9) for number in range(92, 117)]
    assert many.momentum == 0.01 and usual.momentum == 0.1 and first.unsettled == [few]
    first.leave()
    assert few.momentum == 0.01


def test_batches_of_frozen_statistics_are_not_counted():
    norm = nn.BatchNorm1d(2, momentum=0.01).eval()
    first = FirstStatistics(norm)
    for _ in range(5):
        first.before_step()
    assert norm.momentum == 1.0
    norm.train()
    first.before_step(), first.before_step()
    assert norm.momentum == 10 / 11


def test_averages_that_were_cut_short_go_on():
    torch.manual_seed(0)
    norm, batches = nn.BatchNorm1d(2, momentum=0.01).train(), [torch.randn(4, 2) + 3 for _ in range(6)]
    first = FirstStatistics(norm)
    for batch in batches[:3]:
        first.before_step()
        norm(batch)
    again = nn.BatchNorm1d(2, momentum=0.01).train()
    resumed = FirstStatistics(again)  # as in a new process, before it reads its checkpoint
    again.load_state_dict(norm.state_dict())
    for batch in batches[3:]:
        resumed.before_step()
        again(batch)
    torch.testing.assert_close(again.running_mean, decayed([each.mean(0) for each in batches]))
