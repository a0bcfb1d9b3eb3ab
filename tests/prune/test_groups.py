import pytest
import torch
from torch import nn

from edgekd.prune.groups import ChannelGroup


def group(count: int, repeats: int = 1) -> ChannelGroup:
    return ChannelGroup(nn.Identity(), torch.tensor([float((7 * index) % count) for index in range(count)]), repeats)


@pytest.mark.parametrize(
    ("count", "repeats", "wanted", "round_to", "max_ratio", "expected"),
    [
        (32, 1, 16, 8, 0.9, 16),
        (32, 1, 17, 8, 0.9, 24),  # up, never down
        (32, 1, 0, 8, 0.9, 8),  # four must stay, rounded up
        (32, 1, 0, 1, 0.9, 4),
        (32, 1, 0, 1, 0.99, 1),
        (32, 1, 40, 8, 0.9, 32),
        (12, 1, 9, 8, 0.9, 12),  # 16 are not there
        (8, 4, 3, 8, 0.9, 4),  # four groups of 4 make 16, a multiple of 8
        (8, 4, 3, 4, 0.9, 3),
        (8, 3, 3, 8, 0.9, 8),
    ],
)
def test_how_many_stay(count, repeats, wanted, round_to, max_ratio, expected):
    keep = group(count, repeats).keep(wanted, round_to, max_ratio)
    assert keep == expected
    assert keep == count or keep * repeats % round_to == 0


def test_the_lowest_scores_go():
    scores = torch.tensor([3.0, 1.0, 2.0, 1.0, 5.0])
    assert ChannelGroup(nn.Identity(), scores, 1).cut(3) == [1, 3]
    assert ChannelGroup(nn.Identity(), scores, 1).cut(5) == []
    assert ChannelGroup(nn.Identity(), scores, 2).cut(4) == [1, 6], "the same place in both groups"
    assert ChannelGroup(nn.Identity(), scores, 2).width == 10
