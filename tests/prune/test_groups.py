import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgekd.prune.coupling import CoupledChannels
from edgekd.prune.graph import channel_graph
from edgekd.prune.groups import ChannelGroup, find_groups
from edgekd.prune.importance import build_importance


def group(count: int, parts: int = 1, chunk: int = 1, kernels: int = 1) -> ChannelGroup:
    scores = torch.tensor([float((7 * index) % count) for index in range(count)])
    return ChannelGroup(nn.Identity(), scores, CoupledChannels(count * parts * chunk, parts, chunk, kernels))


@pytest.mark.parametrize(
    ("count", "parts", "chunk", "wanted", "round_to", "max_ratio", "expected"),
    [
        (32, 1, 1, 16, 8, 0.9, 16),
        (32, 1, 1, 17, 8, 0.9, 24),  # up, never down
        (32, 1, 1, 0, 8, 0.9, 8),  # four must stay, rounded up
        (32, 1, 1, 0, 1, 0.9, 4),
        (32, 1, 1, 0, 1, 0.99, 1),
        (32, 1, 1, 40, 8, 0.9, 32),
        (12, 1, 1, 9, 8, 0.9, 12),  # 16 are not there
        (8, 4, 1, 3, 8, 0.9, 4),  # four parts of 4 make 16, a multiple of 8
        (8, 4, 1, 3, 4, 0.9, 3),
        (8, 3, 1, 3, 8, 0.9, 8),
        (52, 1, 8, 21, 8, 0.9, 21),  # groups of 8 channels
        (32, 1, 4, 9, 8, 0.9, 10),  # groups of 4: two make 8
        (30, 1, 6, 9, 8, 0.9, 12),
        (16, 2, 8, 3, 32, 0.9, 4),
    ],
)
def test_how_many_stay(count, parts, chunk, wanted, round_to, max_ratio, expected):
    found = group(count, parts, chunk)
    keep = found.keep(wanted, round_to, max_ratio)
    assert keep == expected
    assert keep == count or keep * found.repeats % round_to == 0


@pytest.mark.parametrize(
    ("count", "parts", "kernels", "wanted", "round_to", "expected"),
    [
        (16, 2, 2, 5, 8, 8),  # 8 inside of each group, and not 4, which makes 8 in both
        (16, 2, 2, 9, 8, 16),
        (16, 3, 3, 1, 16, 16),
        (12, 2, 2, 5, 8, 8),  # 12 is no multiple of 8: two times 8 make one
        (12, 2, 2, 2, 8, 4),
        (4, 4, 2, 1, 8, 4),  # two groups of 8 in parts of 4: none can go
        (8, 4, 2, 3, 8, 4),
    ],
)
def test_kernels_inside_of_groups_keep_their_steps(count, parts, kernels, wanted, round_to, expected):
    found = group(count, parts, kernels=kernels)
    keep = found.keep(wanted, round_to, 0.9)
    assert keep == expected
    if found.width // kernels % round_to == 0:
        assert keep * parts // kernels % round_to == 0


def test_the_lowest_scores_go():
    scores = torch.tensor([3.0, 1.0, 2.0, 1.0, 5.0])
    assert ChannelGroup(nn.Identity(), scores, CoupledChannels(5)).cut(3) == [1, 3]
    assert ChannelGroup(nn.Identity(), scores, CoupledChannels(5)).cut(5) == []
    same_places = ChannelGroup(nn.Identity(), scores, CoupledChannels(10, parts=2))
    assert same_places.cut(4) == [1, 6], "the same place in both groups"
    assert (same_places.width, same_places.repeats) == (10, 2)
    whole = ChannelGroup(nn.Identity(), scores, CoupledChannels(15, chunk=3))
    assert whole.cut(3) == [3, 4, 5, 9, 10, 11], "all channels of two groups"
    assert whole.lost(3) == 2 * 3 * 1.0
    both = ChannelGroup(nn.Identity(), scores, CoupledChannels(20, parts=2, chunk=2))
    assert both.cut(4) == [2, 3, 12, 13]


def test_of_each_branch_one_stays():
    scores = torch.tensor([3.0, 1.0, 2.0, 4.0, 5.0])
    plain = ChannelGroup(nn.Identity(), scores, CoupledChannels(5))
    found = ChannelGroup(nn.Identity(), scores, CoupledChannels(5), (frozenset({0, 1, 2}), frozenset({3, 4})))
    assert (plain.cut(2), plain.keep(0, 1, 1.0)) == ([1, 2, 0], 1)
    assert (found.cut(2), found.keep(0, 1, 1.0)) == ([1, 2, 3], 2)
    assert (plain.lost(2), found.lost(2)) == (6.0, 7.0)


class Joined(nn.Module):
    """A layer in six groups behind a concatenation: two of them read ``left``."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 16, 1)
        self.grouped, self.head = nn.Conv2d(24, 24, 3, padding=1, groups=6), nn.Linear(24, 4)

    def forward(self, x):
        x = torch.cat([self.left(x), self.right(x)], 1)
        return self.head(F.relu(self.grouped(x)).mean((2, 3)))


def test_no_layer_of_a_concatenation_is_emptied():
    network = Joined()
    nn.init.zeros_(network.left.weight)
    graph = channel_graph(network, (3, 6, 6))
    [found] = find_groups(graph, build_importance("group_magnitude"), "global", [])
    assert (found.width, found.repeats, set(found.branches)) == (24, 4, {frozenset({0, 1}), frozenset({2, 3, 4, 5})})
    assert found.keep(1, 1, 1.0) == 2
    graph.get_pruning_group(found.root, graph.get_pruner_of_module(found.root).prune_out_channels, found.cut(2)).prune()
    assert (network.left.out_channels, network.right.out_channels, network.grouped.groups) == (4, 4, 2)
    assert network(torch.zeros(2, 3, 6, 6)).shape == (2, 4)
