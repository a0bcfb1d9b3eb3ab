"""Scores of groups weighted against each other."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.models import build
from edgekd.prune import prune, widths
from edgekd.prune.prunable import Prunable

IMAGE = (3, 8, 8)
WEIGHTS = {"layer1.conv1": 1e-4, "layer3.conv1": 100.0}


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return build("resnet8", IMAGE, 10)


@pytest.mark.parametrize("scope", ["global", "layer", "isomorphic"])
def test_weights_multiply_the_scores_of_their_groups(network, scope):
    plain, weighted = (Prunable(network, IMAGE, scope=scope, weights=each) for each in (None, WEIGHTS))
    for root, before, after in zip(plain.roots, plain.groups, weighted.groups, strict=True):
        factor = WEIGHTS.get(root, 1.0)
        np.testing.assert_allclose(after.scores.numpy(), factor * before.scores.numpy(), rtol=1e-12)
        assert after.lost(8) == pytest.approx(factor * before.lost(8))
        assert after.cut(8) == before.cut(8)
        assert after.width == before.width


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.6])
def test_all_channels_are_ranked_by_their_weighted_scores(network, ratio):
    plain = Prunable(network, IMAGE, round_to=1, max_ratio=1.0)
    weighted = Prunable(network, IMAGE, round_to=1, max_ratio=1.0, weights=WEIGHTS)
    scores = [
        WEIGHTS.get(root, 1.0) * group.scores.numpy() for root, group in zip(plain.roots, plain.groups, strict=True)
    ]
    everything = np.sort(np.concatenate(scores))
    threshold = everything[int(len(everything) * ratio)]
    assert weighted.at_ratio(ratio) == tuple(max(1, int((each >= threshold).sum())) for each in scores)
    assert weighted.at_ratio(ratio) != plain.at_ratio(ratio)


def test_a_cut_takes_from_the_groups_of_little_weight(network):
    before = copy.deepcopy(network.state_dict())
    pruned = widths(prune(network, IMAGE, macs=0.7, max_ratio=0.5, weights=WEIGHTS).network)
    assert (pruned["layer1.conv1"], pruned["layer3.conv1"]) == (8, 64)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_weights_of_no_group(network):
    with pytest.raises(ModelError) as error:
        Prunable(network, IMAGE, weights={"layer3.conv1": 2.0, "linear": 1.0}, ignore=("layer1.*", "layer2.*"))
    assert str(error.value) == (
        "a weight is given to 'linear', which is the root of no channel group; known: layer3.shortcut.0, layer3.conv1"
    )
    with pytest.raises(ModelError, match=r"to 'layer3.conv9', .* \(did you mean 'layer3.conv1'\?\)"):
        Prunable(network, IMAGE, weights={"layer3.conv9": 1.0})


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_a_weight_that_cannot_be(network, weight):
    with pytest.raises(ModelError) as error:
        Prunable(network, IMAGE, weights={"layer3.conv1": weight})
    assert str(error.value) == f"the scores of 'layer3.conv1' cannot be weighted with {weight}: give a number above 0"
