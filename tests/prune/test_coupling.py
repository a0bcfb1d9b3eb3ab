import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgekd.prune.coupling import CoupledChannels, branches, coupled_channels
from edgekd.prune.importance import build_importance
from edgekd.prune.prunable import Prunable
from tests.prune.importance.networks import CASES, Concatenated, PartlyConcatenated, groups_of, made


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("residual add", CoupledChannels(6)),
        ("depthwise", CoupledChannels(6)),
        ("linear behind a flatten", CoupledChannels(6)),
        ("into groups", CoupledChannels(20, parts=2, kernels=2)),
        # out into two groups of the transposed one
        ("out of groups, into transposed groups", CoupledChannels(24, parts=2, kernels=2)),
        ("out of transposed groups", CoupledChannels(20, parts=2, kernels=2)),
        ("two filters per input", CoupledChannels(10, chunk=2)),
        ("whole groups", CoupledChannels(12, chunk=3)),
        ("whole transposed groups", CoupledChannels(12, chunk=3)),
        ("whole groups by their inputs", CoupledChannels(12, chunk=3)),
    ],
)
def test_what_can_only_go_together(case, expected):
    assert coupled_channels(groups_of(made(CASES[case].network))[CASES[case].root]) == expected


def chain(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 48, 1), *layers, nn.Conv2d(48, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def conv(groups: int) -> nn.Module:
    return nn.Conv2d(48, 48, 3, padding=1, groups=groups)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([conv(6), conv(4)], [CoupledChannels(48, chunk=24)]),  # groups of 8, and of 12
        ([conv(6), conv(12)], [CoupledChannels(48, chunk=8)]),
        (
            [conv(6), conv(3)],
            [CoupledChannels(48, parts=3, kernels=3), CoupledChannels(48, parts=3, chunk=8, kernels=3)],
        ),
        ([conv(6), nn.GroupNorm(12, 48)], [CoupledChannels(48, chunk=8)]),  # two groups of the norm go with each
        ([conv(6), nn.GroupNorm(3, 48)], [CoupledChannels(48, parts=3, chunk=8)]),
        # groups of 12 and of 8, and then parts of 12 and of 16: nothing whole could go
        (
            [conv(6), nn.GroupNorm(4, 48)],
            [CoupledChannels(48, parts=12, kernels=6), CoupledChannels(48, parts=6, kernels=6)],
        ),
        ([conv(4), conv(3)], [CoupledChannels(48, parts=n, kernels=n) for n in (3, 12, 4)]),
        ([nn.GroupNorm(8, 48)], [CoupledChannels(48, parts=8)]),
        ([nn.GroupNorm(48, 48)], [CoupledChannels(48)]),
        ([nn.GroupNorm(1, 48)], [CoupledChannels(48)]),
        (
            [conv(2), nn.GroupNorm(4, 48)],
            [CoupledChannels(48, parts=4, kernels=2), CoupledChannels(48, parts=2, kernels=2)],
        ),
    ],
    ids=str,
)
def test_layers_in_groups_beside_each_other(layers, expected):
    assert [coupled_channels(group) for group in groups_of(chain(*layers)).values()] == expected


@pytest.mark.parametrize("joined", [nn.Conv2d(9, 27, 1, groups=3), nn.GroupNorm(3, 9)])
def test_a_part_of_what_a_layer_in_groups_reads_cannot_be_cut(joined):
    network = Concatenated()
    network.joined = nn.Sequential(joined, nn.Conv2d(27 if isinstance(joined, nn.Conv2d) else 9, 4, 1))
    groups = groups_of(network)
    assert [
        (coupled_channels(groups[name]).scores, coupled_channels(groups[name]).repeats) for name in ("left", "right")
    ] == [(1, 4), (1, 5)]


class Levels(nn.Module):
    """A norm that two levels of a pyramid share, one of them of a single pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm, self.head = nn.Conv2d(3, 16, 1), nn.GroupNorm(4, 16), nn.Conv2d(16, 4, 1)

    def forward(self, x):
        fine = self.enter(x)
        levels = (fine, F.adaptive_avg_pool2d(fine, 1))
        return [self.head(F.relu(self.norm(each))) for each in levels]


def test_the_smallest_map_of_a_norm_counts():
    assert coupled_channels(groups_of(Levels())["enter"]) == CoupledChannels(16, parts=4, least=2)


TIED = CoupledChannels(24, parts=2, chunk=3)


def test_means_over_what_goes_together():
    values = torch.arange(24.0)
    # scores 0 to 3: channels 0-2 and 12-14, 3-5 and 15-17, ...
    assert TIED.mean(values).tolist() == [7.0, 10.0, 13.0, 16.0]
    assert TIED.channels([2, 0]) == [6, 7, 8, 0, 1, 2, 18, 19, 20, 12, 13, 14]


def test_spread_and_back():
    scores = torch.tensor([4.0, 1.0, 3.0, 2.0])
    spread = TIED.spread(scores)
    assert torch.equal(TIED.mean(spread), scores)
    assert [float(spread[channel]) for channel in TIED.channels([1])] == [1.0] * 6
    assert [TIED.score_of(channel) for channel in TIED.channels([3])] == [3] * 6


def test_branches_are_layers_with_some_of_the_channels():
    [group] = groups_of(made(PartlyConcatenated)).values()
    assert set(branches(group, coupled_channels(group))) == {frozenset({0, 1, 2}), frozenset({3, 4, 5, 6})}
    for case in ("whole groups", "whole groups by their inputs", "linear behind a flatten"):
        group = groups_of(made(CASES[case].network))[CASES[case].root]
        assert branches(group, coupled_channels(group)) == ()


def test_chance_and_lamp_are_of_whole_groups():
    """Means of many draws would never be among the lowest."""
    case = CASES["whole groups"]
    group = groups_of(made(case.network))[case.root]
    torch.manual_seed(3)
    drawn = build_importance("random", None)(group)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(4).double().repeat_interleave(3))
    squares = build_importance("group_magnitude", "sum")(group).numpy().reshape(4, 3).mean(1)
    expected = [each / squares[squares >= each].sum() for each in squares]
    np.testing.assert_allclose(build_importance("lamp", "sum")(group).numpy(), np.repeat(expected, 3), rtol=1e-6)


class Halved(nn.Module):
    """The way YOLOv9 halves a map: a pool, then two chunks with a convolution each; the whole goes on elsewhere too."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.whole = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 4, 1)
        self.one, self.two = nn.Conv2d(6, 8, 1), nn.Conv2d(6, 8, 1)

    def forward(self, x):
        x = self.enter(x)
        first, second = F.avg_pool2d(x, 2, 1).chunk(2, 1)
        return self.whole(x).mean((2, 3)), torch.cat((self.one(first), self.two(second)), 1)


def test_equal_chunks_lose_the_same_channels_each():
    network = Halved().eval()
    assert coupled_channels(groups_of(network)["enter"]) == CoupledChannels(12, parts=2, kernels=2)
    prunable = Prunable(network, (3, 8, 8), round_to=1)
    assert not prunable.unpruned
    cut, _ = prunable.cut([len(group.scores) // 2 for group in prunable.groups])
    with torch.no_grad():
        assert [each.shape for each in cut(torch.rand(2, 3, 8, 8))] == [(2, 4), (2, 16, 7, 7)]
    assert cut.enter.out_channels == 6 and cut.one.in_channels == 3
