"""Times at other widths, with multiply-accumulates for times: those of a cut network can be counted."""

from collections.abc import Iterable

import pytest
import torch

from edgekd.models.size import macs_by_module
from edgekd.prune.costs import CutCosts
from edgekd.prune.latency import Layer
from edgekd.prune.prunable import Prunable
from tests.prune.test_structure import MADE

GROUPED = (
    "six groups",
    "wider outputs",
    "wider inputs",
    "transposed",
    "two groups",
    "two filters per input",
    "residual",
)


class Counted(dict[Layer, float]):
    """A table whose times are multiply-accumulates; it knows only what it was asked to measure."""

    def measure(self, layers: Iterable[Layer]) -> int:
        self.update({layer: float(layer.macs) for layer in layers})
        return len(self)


@pytest.mark.parametrize("name", [*GROUPED, "depthwise", "concatenated", "resnext", "regnet_y", "shufflenet"])
def test_a_share_is_that_of_the_cut_network(name):
    make, shape = MADE[name]
    torch.manual_seed(0)
    network = make()
    prunable = Prunable(network, shape, round_to=1)
    costs = CutCosts(prunable, Counted(), steps=4)
    costs.measure()
    total = sum(layer.macs for layer in costs.layers.values())
    costs.set_latency(total)
    for step in range(min(len(choice.widths) for choice in costs.choices)):
        widths = tuple(choice.widths[step] for choice in costs.choices)
        cut = macs_by_module(prunable.cut_to(widths)[0], shape)
        assert costs.share(None, widths) == pytest.approx(sum(cut[layer] for layer in costs.layers) / total, rel=1e-9)


def test_groups_behind_a_concatenation_are_interpolated():
    """Its sides have the channels of two groups, and are measured at a few numbers of groups."""
    make, shape = MADE["concatenated"]
    prunable = Prunable(make(), shape, round_to=1)
    costs = CutCosts(prunable, Counted(), steps=3)
    costs.measure()
    layer = costs.layers["grouped"]
    assert len(prunable.structure.fans["grouped"][0].factors) == 2
    measured = {each for each in costs.table if (each.kernel, each.sizes) == (layer.kernel, layer.sizes)}
    assert {each.inputs // each.groups for each in measured} == {4}
    assert costs.layer_cost("grouped", 20, 20) == pytest.approx(layer.macs * 20 / 24)
