import math

import pytest
from torch import nn

from edgekd.errors import MeasurementError
from edgekd.prune.latency import LatencyTable, Layer, layers_of, predict
from edgekd.prune.latency.predict import predictor
from edgekd.prune.prunable import Prunable
from edgekd.prune.sensitivity import scan

from .conftest import SHAPE

FULL = {
    "conv": Layer("conv", 3, 64, ((8, 8),), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    "head": Layer("linear", 64, 10, ((),)),
}
HALF = {"conv": FULL["conv"].resized(3, 32), "head": FULL["head"].resized(32, 10)}
TABLE = {FULL["conv"]: 2.0, FULL["head"]: 0.5, HALF["conv"]: 1.2, HALF["head"]: 0.3}
SHARE = (32 * 64 + 10) / (64 * 64 + 10)


def test_what_is_beyond_the_layers_goes_with_the_activations():
    assert predict(3.5, FULL, HALF, TABLE) == pytest.approx((3.5 - 2.5) * SHARE + 1.5)


def test_a_network_faster_than_its_layers_keeps_their_ratio():
    assert predict(2.0, FULL, HALF, TABLE) == pytest.approx(2.0 * 1.5 / 2.5)
    assert predict(2.5, FULL, HALF, TABLE) == pytest.approx(1.5)


@pytest.mark.parametrize("network_ms", [1.0, 2.5, 9.0])
def test_the_same_widths_take_the_same_time(network_ms):
    assert predict(network_ms, FULL, FULL, TABLE) == pytest.approx(network_ms)


def halved(network: nn.Module) -> nn.Module:
    prunable = Prunable(network, SHAPE)
    return prunable.cut([len(group.scores) // 2 for group in prunable.groups])[0]


def test_the_share_of_a_cut_network_whose_layers_are_not_known(small, table):
    cut = halved(small)
    before, after = layers_of(small, SHAPE), layers_of(cut, SHAPE)
    uncut_ms = 2 * sum(table[layer] for layer in before.values())
    share = predictor(small, SHAPE, table, uncut_ms)
    assert share(small) == pytest.approx(1.0)
    found = share(cut)
    assert all(layer in table for layer in after.values())
    # By the fewer activations the half beyond the layers goes down, by the table the other one.
    written = [sum(layer.elements for layer in layers.values()) for layers in (after, before)]
    measured = [sum(table[layer] for layer in layers.values()) for layers in (after, before)]
    assert found == pytest.approx(written[0] / written[1] / 2 + measured[0] / measured[1] / 2)
    assert 0 < found < 1


def test_a_better_moment_of_the_machine_changes_no_share(small, table):
    cut = halved(small)
    share = predictor(small, SHAPE, table, 1.5 * sum(table[layer] for layer in layers_of(small, SHAPE).values()))
    found, at_first = share(cut), table._store.reference_ms
    try:
        table._store.reference_ms = 0.7 * at_first
        assert share(cut) == pytest.approx(found, rel=1e-3)
        assert share(small) == pytest.approx(1.0)
    finally:
        table._store.reference_ms = at_first


def test_a_scan_of_a_real_network_with_times_of_the_table(small, table):
    share = predictor(small, SHAPE, table, 1.2 * sum(table[layer] for layer in layers_of(small, SHAPE).values()))
    found = {each.layer: each for each in scan(small, SHAPE, lambda _: 1.0, latency=share, ratios=(0.5, 0.75))}
    assert len(found) == 2, "the stem with the depthwise layer, and both convolutions of the addition"
    for each in found.values():
        assert each.cuts[0].latency == pytest.approx(share(cut_alone(small, each.layer, each.cuts[0].width)))
        assert each.cuts[1].latency < each.cuts[0].latency < 1


def cut_alone(network: nn.Module, layer: str, width: int) -> nn.Module:
    prunable = Prunable(network, SHAPE)
    return prunable.cut(
        [width if root == layer else group.width for root, group in zip(prunable.roots, prunable.groups, strict=True)]
    )[0]


@pytest.mark.parametrize("uncut_ms", [0.0, -1.0, math.nan, math.inf])
def test_a_latency_out_of_range(small, home, uncut_ms):
    with pytest.raises(MeasurementError, match=f"the network's latency cannot be {uncut_ms} ms: give the result"):
        predictor(small, SHAPE, LatencyTable(), uncut_ms)
