import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from edgekd.models import build
from edgekd.prune.prunable import Prunable

SHAPE = (3, 16, 16)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return build("resnet8", SHAPE, 10).eval()


def test_paths_from_input_to_output(network):
    """The sum over groups is −log of the product over layers of the shares of what each reads and writes."""
    prunable = Prunable(network, SHAPE)
    keeps = [max(1, 3 * len(group.scores) // 4 - 2 * index) for index, group in enumerate(prunable.groups)]
    cut, _ = prunable.cut(keeps)
    shares = 1.0
    for ours, theirs in zip(_sides(cut), _sides(network), strict=True):
        # A layer between two widths of one group counts once.
        narrowed = {(small, whole) for small, whole in zip(ours, theirs, strict=True) if small != whole}
        for small, whole in narrowed:
            shares *= small / whole
    total = sum(prunable.loss(index, keep) for index, keep in enumerate(keeps))
    assert total == pytest.approx(-math.log(shares))


def test_nothing_is_lost_where_all_stays_and_more_with_every_channel(network):
    prunable = Prunable(network, SHAPE)
    for index, group in enumerate(prunable.groups):
        losses = [prunable.loss(index, keep) for keep in range(len(group.scores), 0, -1)]
        assert losses[0] == 0
        steps = [after - before for before, after in pairwise(losses)]
        assert steps == sorted(steps)  # each costs more than the one before
        assert steps[0] > 0


def test_measured_sensitivity_in_place_of_layers(network):
    plain = Prunable(network, SHAPE)
    weights = {root: 2.0 + index for index, root in enumerate(plain.roots)}
    weighted = Prunable(network, SHAPE, weights=weights)
    for index, group in enumerate(weighted.groups):
        half = len(group.scores) // 2
        assert weighted.loss(index, half) == pytest.approx(group.lost(half))
        assert weighted.loss(index, half // 2) == pytest.approx(2 * group.lost(half))


def _sides(network: nn.Module) -> list[tuple[int, int]]:
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return [
        (layer.in_channels, layer.out_channels)
        if isinstance(layer, nn.Conv2d)
        else (layer.in_features, layer.out_features)
        for layer in layers
    ]
