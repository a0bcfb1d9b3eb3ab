from functools import partial

import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.export import export_onnx
from edgekd.models import build, count_macs
from edgekd.preprocess import Preprocess
from edgekd.prune import apply_plan, widths
from edgekd.prune.latency import LatencyTable
from edgekd.prune.latency_target import NEAR, prune_to_latency
from edgekd.prune.prunable import Prunable

SHAPE = (3, 32, 32)
WRITE = partial(export_onnx, preprocess=Preprocess("image", SHAPE, (0.5,) * 3, (0.25,) * 3))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return build("resnet8", SHAPE, 10, width=32).eval()


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> LatencyTable:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("home")))
        table = LatencyTable("float32", threads=1)
        yield table


@pytest.mark.slow
def test_half_of_the_time(network, table):
    before = widths(network)
    found = prune_to_latency(Prunable(network, SHAPE), 0.5, table, WRITE, seconds=0.5)
    assert found.timing.measured <= 0.5
    assert found.timing.predicted is not None
    assert found.timing in found.tried
    assert found.timing.measured >= NEAR * 0.5 or all(
        each.measured > 0.5 for each in found.tried if each != found.timing
    )
    assert widths(network) == before
    assert all(width % 8 == 0 for name, width in widths(found.network).items() if width != before[name])
    torch.manual_seed(0)
    again = apply_plan(build("resnet8", SHAPE, 10, width=32).eval(), found.plan, SHAPE)
    assert widths(again) == widths(found.network)


@pytest.mark.slow
def test_of_a_network_that_was_cut_before(network, table):
    """The share is of the reference: what a first cut has saved counts."""
    half = prune_to_latency(Prunable(network, SHAPE), 0.7, table, WRITE, seconds=0.5).network
    found = prune_to_latency(Prunable(half, SHAPE), 0.5, table, WRITE, reference=network, seconds=0.5)
    assert 0.3 < found.timing.measured <= 0.5
    assert count_macs(found.network, SHAPE) < count_macs(half, SHAPE)


@pytest.mark.slow
def test_what_cannot_be_reached(network, table):
    with pytest.raises(ModelError, match=r"cannot reach 1% of the latency: the least that was measured is \d+%"):
        prune_to_latency(Prunable(network, SHAPE), 0.01, table, WRITE, seconds=0.3)


def test_what_is_no_share(network, table):
    with pytest.raises(ModelError, match=r"share must be a finite number above 0 and below 1, got 1.5"):
        prune_to_latency(Prunable(network, SHAPE), 1.5, table, WRITE)
