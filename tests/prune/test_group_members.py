import numpy as np
import pytest
import torch
import torch_pruning as tp
from torch import nn

from edgekd.prune.group_members import group_members
from tests.prune.importance.networks import CASES, Case, Residual, groups_of, made


def parts_of(case: Case, channel: int) -> dict[str, tuple]:
    return {path: (kind, index) for path, kind, index in case.parts(channel)}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_rows_are_the_parts_written_down(case):
    network = made(case.network)
    paths = {module: path for path, module in network.named_modules()}
    found = {paths[member.layer]: member for member in group_members(groups_of(network)[case.root])}
    assert next(iter(found)) == case.root
    assert {path for c in range(case.width) for path in parts_of(case, c)} == set(found)
    for path, member in found.items():
        weight = member.weight.detach()
        for channel in range(case.width):
            mine = member.rows(weight)[member.channels == channel].numpy()
            if path in parts_of(case, channel):
                kind, index = parts_of(case, channel)[path]
                assert member.reads is (kind == "in")
                assert sorted(mine.ravel()) == sorted(weight.numpy()[index].ravel())
            else:
                assert mine.size == 0


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_spread_puts_a_channels_value_on_its_parts(case):
    network = made(case.network)
    paths = {module: path for path, module in network.named_modules()}
    values = torch.arange(1.0, case.width + 1)
    for member in group_members(groups_of(network)[case.root]):
        expected = np.zeros(member.weight.shape)
        for channel in range(case.width):
            if paths[member.layer] in parts_of(case, channel):
                expected[parts_of(case, channel)[paths[member.layer]][1]] = channel + 1
        spread = torch.ones_like(member.weight) * member.spread(values)
        assert np.array_equal(spread.detach().numpy(), expected)


def test_channels_are_counted_from_the_roots_first():
    """A group of some channels: torch-pruning's importances write beyond their end there."""
    network = made(Residual)
    graph = tp.DependencyGraph().build_dependency(network, torch.zeros(2, 3, 6, 6), verbose=False)
    group = graph.get_pruning_group(network.conv2, tp.prune_conv_out_channels, [1, 4])
    for member in group_members(group):
        assert member.indices.tolist() == [1, 4]
        assert member.channels.tolist() == [0, 1]


def test_layers_without_weights_of_their_own_are_left_out():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, affine=False), nn.PReLU(4), nn.Conv2d(4, 2, 1), nn.Flatten()
    )
    layers = [member.layer for member in group_members(groups_of(network, (3, 2, 2))["0"])]
    assert layers == [network[0], network[3]]
