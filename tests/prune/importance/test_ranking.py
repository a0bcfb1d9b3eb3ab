import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.prune import IMPORTANCES, prune

SHAPE = (2, 4, 4)
# Sums of absolute weights of the first layer's six filters, smallest to largest: channels 4, 1, 3, 0, 5, 2.
SIZES = [4.0, 2.0, 6.0, 3.0, 1.0, 5.0]


def hand_made() -> nn.Sequential:
    """Two convolutions; the second reads every channel alike, so that only the first can rank them."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)
    )
    with torch.no_grad():
        weight = network[0].weight
        weight.copy_(torch.sign(torch.randn_like(weight)))
        weight *= torch.tensor(SIZES).view(-1, 1, 1, 1)
        network[4].weight.copy_(torch.ones(3, 6))
    return network


@pytest.mark.parametrize(("share", "left", "expected"), [(0.7, 4, [0, 2, 3, 5]), (0.4, 2, [2, 5]), (0.2, 1, [2])])
@pytest.mark.parametrize("importance", ["l1", "l2", "group_magnitude"])
def test_the_smallest_filters_go(importance, share, left, expected):
    network = hand_made()
    pruned = prune(network, SHAPE, macs=share, importance=importance, round_to=1, max_ratio=0.9).network
    assert pruned[0].out_channels == left
    assert torch.equal(pruned[0].weight, network[0].weight[expected])
    assert torch.equal(pruned[4].weight, network[4].weight[:, expected])


def test_batchnorm_scales_rank_too():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)
    )
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([-6.0, 0.5, 4.0, 0.1, -5.0, 0.2]))
    pruned = prune(network, (2, 6, 6), macs=0.6, importance="bn_scale", round_to=1).network
    assert pruned[1].weight.tolist() == [-6.0, 4.0, -5.0]


def test_chance_depends_on_the_seed():
    plans = [prune(hand_made(), SHAPE, macs=0.4, importance="random", round_to=1, seed=seed).plan for seed in range(6)]
    assert plans[0] == prune(hand_made(), SHAPE, macs=0.4, importance="random", round_to=1).plan
    assert any(plan != plans[0] for plan in plans[1:])


def test_an_unknown_importance():
    with pytest.raises(ModelError) as error:
        prune(hand_made(), SHAPE, macs=0.5, importance="l3")
    assert str(error.value).startswith("unknown importance 'l3' (did you mean 'l")
    assert {"bn_scale", "group_magnitude", "l1", "l2", "random"} < set(IMPORTANCES)
