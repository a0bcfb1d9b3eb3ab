"""Chunked convolutions of cross-stage blocks, cut like others and rebuilt to the bit."""

import json

import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.models import build
from edgekd.prune.halves import Halves, chunked_layers, halve
from edgekd.prune.plan import apply_plan
from edgekd.prune.prunable import Prunable
from tests.tasks.detection.networks import settled

SHAPE = (3, 32, 32)


class Split(nn.Module):
    """As C2PSA of ultralytics: named sizes, one part used as it is, and a gate, which stays one convolution."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.SiLU())
        self.inner = nn.Conv2d(16, 16, 3, padding=1)
        self.gate = nn.Conv2d(32, 32, 1)
        self.leave = nn.Conv2d(16, 5, 1)

    def forward(self, x):
        first, second = self.enter(x).split((16, 16), dim=1)
        values, gates = torch.chunk(self.gate(torch.cat((first, self.inner(second)), 1)), 2, 1)
        return self.leave(values * gates.sigmoid())


def detector():
    return build("pyramid_detector", SHAPE, num_classes=3, width=8, depth=2, block="c2f")


@pytest.mark.parametrize("make", [detector, Split])
def test_halves_give_the_same_to_the_bit_and_can_be_cut(make):
    network = settled(make())
    x = torch.randn(2, *SHAPE)
    found = chunked_layers(network, SHAPE)
    assert found == ([f"stages.{stage}.1.enter" for stage in range(3)] if make is detector else ["enter"])
    prunable = Prunable(network, SHAPE, round_to=4)
    assert not prunable.unpruned
    with torch.no_grad():
        before, halved = network(x), prunable.network(x)
    outputs = zip(before.values(), halved.values(), strict=True) if make is detector else [(before, halved)]
    assert all(torch.equal(*pair) for pair in outputs)

    cut, plan = prunable.cut([prunable.rounded(group, len(group.scores) // 2) for group in prunable.groups])
    again = apply_plan(settled(make()), json.loads(json.dumps(plan)), SHAPE)
    again.load_state_dict(cut.state_dict())
    sizes = [each.out_channels for each in cut.get_submodule(found[0]).modules() if isinstance(each, nn.Conv2d)]
    assert len(sizes) == 2 and sum(sizes) < network.get_submodule(found[0])[0].out_channels
    with torch.no_grad():
        ours, theirs = cut.eval()(x), again.eval()(x)
    for name in ours if make is detector else ():
        assert torch.equal(ours[name], theirs[name]) and ours[name].shape == before[name].shape


def test_what_is_ignored_stays_one_convolution():
    prunable = Prunable(settled(detector()), SHAPE, round_to=4, ignore=["stages.1.1.enter"])
    assert isinstance(prunable.network.get_submodule("stages.1.1.enter.0"), nn.Conv2d)
    assert "first" in dict(prunable.network.get_submodule("stages.0.1.enter").named_children())


def test_halves_are_only_chunked_or_split():
    pair = Halves((torch.ones(1, 2), torch.zeros(1, 3)))
    assert torch.chunk(pair, 2, 1) == pair.chunk(2, 1) == pair.split((2, 2), 1) == tuple(pair)
    with pytest.raises(ModelError, match="two halves of channels stand where relu"):
        torch.relu(pair)


def test_another_module_is_refused():
    with pytest.raises(ModelError, match="'0' is not one convolution"):
        halve(nn.Sequential(nn.Conv2d(3, 5, 1)), "0")


class Twice(nn.Module):
    """One block that is called twice, and in ``once`` chunked after one call alone."""

    def __init__(self, once: bool):
        super().__init__()
        self.enter, self.block, self.leave = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 32, 1), nn.Conv2d(32, 5, 1)
        self.once = once

    def forward(self, x):
        for _ in range(2):
            whole = self.block(self.enter(x))
            first, second = whole.chunk(2, 1)
            joined = torch.cat((first, second.relu()), 1)
        return self.leave(joined + self.block(self.enter(x)) if self.once else joined)


def test_a_module_that_is_called_twice_is_halved_once():
    assert chunked_layers(Twice(once=True), SHAPE) == []
    network = Twice(once=False).eval()
    assert chunked_layers(network, SHAPE) == ["block"]
    x = torch.randn(2, *SHAPE)
    with torch.no_grad():
        assert torch.equal(network(x), Prunable(network, SHAPE, round_to=4).network(x))
