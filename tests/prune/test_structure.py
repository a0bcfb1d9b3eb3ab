"""Widths that follow from those of the channel groups, against networks that were cut."""

import copy

import pytest
import torch
from torch import nn

from edgekd.prune.prunable import Prunable
from tests.prune import zoo
from tests.prune.importance.networks import CASES, PartlyConcatenated
from tests.prune.test_grouped import NETWORKS

MADE = {
    **{name: (make, (3, 12, 12)) for name, make in NETWORKS.items()},
    **{name: (case.network, (3, 6, 6)) for name, case in CASES.items() if case.network is not PartlyConcatenated},
    **{name: (getattr(zoo, name), zoo.SHAPE) for name in ("resnext", "regnet_y", "dense", "shufflenet", "vgg")},
}


def widths(layer: nn.Module) -> tuple[int, int]:
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return layer.in_channels, layer.out_channels


@pytest.mark.parametrize("name", MADE)
def test_widths_are_those_after_a_cut(name):
    make, shape = MADE[name]
    torch.manual_seed(0)
    network = make()
    prunable = Prunable(network, shape, round_to=1)
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        draws = [float(torch.rand((), generator=generator)) for _ in prunable.groups]
        keeps = [
            group.keep(int(draw * len(group.scores)), 1, 1.0)
            for group, draw in zip(prunable.groups, draws, strict=True)
        ]
        cut, _ = prunable.cut(keeps)
        channels = [keep * group.repeats for group, keep in zip(prunable.groups, keeps, strict=True)]
        for layer in prunable.structure.fans:
            assert prunable.structure.widths_of(layer, channels) == widths(cut.get_submodule(layer)), layer
            if layer in prunable.structure.coupled:
                before, after = network.get_submodule(layer), cut.get_submodule(layer)
                assert after.in_channels * before.groups == before.in_channels * after.groups


def test_coupled_layers():
    found = {
        name: Prunable(make(), shape).structure.coupled for name, (make, shape) in MADE.items() if name in NETWORKS
    }
    assert found["six groups"] == found["wider outputs"] == found["transposed"] == {"2"}
    assert found["two groups"] == found["two transposed groups"] == found["shuffled"] == frozenset()
    assert found["residual"] == {"grouped"}
    assert Prunable(copy.deepcopy(CASES["depthwise"].network()), (3, 6, 6)).structure.coupled == {"depth"}
