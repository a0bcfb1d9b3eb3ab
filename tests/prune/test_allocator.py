"""Widths by a threshold, and what decides between it and the search."""

import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.models import build, count_macs
from edgekd.prune import prune, widths
from edgekd.prune.allocator import ThresholdAllocator, allocator
from edgekd.prune.budget import must_reach
from edgekd.prune.costs import CutCosts
from edgekd.prune.counts import COUNTS
from edgekd.prune.prunable import Prunable
from edgekd.prune.scope import SCOPES

SHAPE = (3, 16, 16)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return build("resnet8", SHAPE, 10).eval()


def costs(prunable: Prunable) -> CutCosts:
    found = CutCosts(prunable, COUNTS["macs"], steps=32)
    found.set_total(count_macs(prunable.network, SHAPE))
    return found


@pytest.mark.parametrize("scope", [scope for scope in SCOPES if scope != "paths"])
def test_no_milder_cut_is_within_the_budget(network, scope):
    prunable = Prunable(network, SHAPE, scope=scope, round_to=1)
    cost = costs(prunable).share
    found = ThresholdAllocator(prunable, cost).within(0.5)
    assert found is not None and cost(None, found) <= 0.5
    channels = sum(group.width for group in prunable.groups)
    for ratio in [step / channels for step in range(channels)]:
        milder = tuple(prunable.at_ratio(ratio))
        if sum(milder) > sum(found):
            assert cost(None, milder) > 0.5


def test_no_cut_is_within_what_cannot_be_reached(network):
    prunable = Prunable(network, SHAPE, scope="global", max_ratio=0.5)
    thresholds = ThresholdAllocator(prunable, costs(prunable).share)
    assert thresholds.within(0.1) is None
    assert thresholds.cheapest() == tuple(group.width // 2 for group in prunable.groups)


def test_paths_are_searched_and_scores_have_thresholds(network):
    """An importance between groups: with one filter a thousand times as large, its layer stays whole by its scores."""
    for scope, kept in (("global", 32), ("paths", 24)):
        prunable = Prunable(_loud(network), SHAPE, scope=scope, importance="l2")
        found = allocator(prunable, costs(prunable)).within(0.7)
        assert found is not None
        assert found[prunable.roots.index("layer2.conv1")] == kept


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("target", list(COUNTS))
def test_every_scope_reaches_every_target(network, scope, target):
    pruned = prune(network, SHAPE, **{target: 0.4}, scope=scope, round_to=1)
    count = COUNTS[target].of
    assert pruned.after == count(pruned.network, SHAPE) <= 0.4 * count(network, SHAPE)
    assert pruned.share > 0.36


@pytest.mark.parametrize("scope", ["paths", "global"])
def test_what_must_be_reached_is_tried(network, scope):
    prunable = Prunable(network, SHAPE, scope=scope, max_ratio=0.5)
    must_reach("macs", 0.5, prunable)
    with pytest.raises(ModelError, match=r"^pruning cannot reach 5% of the MACs: .* the least is 26%; raise"):
        must_reach("macs", 0.05, prunable)


def test_counts_are_of_the_cut_network(network):
    """Of a ResNet the multiply-accumulates are all in layers: what is chosen by them needs no second try."""
    prunable = Prunable(network, SHAPE)
    found = costs(prunable)
    chosen = allocator(prunable, found).within(0.6)
    assert chosen is not None
    cut, _ = prunable.cut_to(chosen)
    assert count_macs(cut, SHAPE) / count_macs(network, SHAPE) == pytest.approx(found.share(None, chosen), rel=1e-12)
    assert set(widths(cut)) == set(widths(network))


def _loud(network: nn.Module) -> nn.Module:
    loud = build("resnet8", SHAPE, 10)
    loud.load_state_dict(network.state_dict())
    with torch.no_grad():
        loud.layer2.conv1.weight *= 1000
    return loud.eval()
