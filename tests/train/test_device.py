import logging

import pytest
import torch
from torch import nn

from edgekd.models import build
from edgekd.quantize import prepare
from edgekd.train.device import (
    _say_bfloat16,
    channels_first,
    channels_last,
    lay_out,
    make_fabric,
    moved,
    trains_channels_last,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (nn.Conv2d(4, 8, 1, stride=2), False),
        (nn.Sequential(nn.Conv2d(32, 32, 1, stride=(1, 2), groups=8)), False),
        (nn.Conv2d(16, 8, 1, stride=2), True),
        (nn.Conv2d(4, 8, 1), True),
        (nn.Conv2d(4, 8, 3, stride=2), True),
        (nn.Linear(4, 8), True),
    ],
)
def test_strided_pointwise_convolutions_of_few_channels(network, expected):
    assert trains_channels_last(network, CPU) is expected
    assert trains_channels_last(network, torch.device("cuda"))


@pytest.mark.parametrize(("channels", "stride", "expected"), [(4, 2, False), (4, 1, True), (16, 2, True)])
def test_they_are_found_in_a_quantised_graph(channels, stride, expected):
    network = nn.Sequential(nn.Conv2d(channels, 8, 1, stride), nn.ReLU(), nn.Conv2d(8, 4, 3))
    assert trains_channels_last(prepare(network, (channels, 8, 8)), CPU) is expected


def test_layouts_move_strides_and_not_values():
    network = build("resnet8", (1, 8, 8), 10, width=4)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    lay_out(network)
    assert network.layer1.conv1.weight.stride() == (36, 1, 12, 4)
    lay_out(network, last=False)
    assert network.layer1.conv1.weight.stride() == (36, 9, 3, 1)
    assert network.layer2.shortcut[0].weight.stride() == (4, 1, 1, 1)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_one_channel_has_only_one_usual_layout():
    images = torch.randn(2, 3, 3, 1).permute(0, 3, 1, 2)
    assert images.contiguous().stride() == (9, 1, 3, 1), "why channels_first copies"
    assert channels_first(images).stride() == (9, 9, 3, 1)
    assert channels_last(torch.zeros(2, 3)).shape == (2, 3)


def test_what_is_there_already_is_not_copied():
    x = torch.randn(2, 3)
    assert moved(x, torch.device("cpu")) is x
    assert moved(x, torch.device("meta")).device.type == "meta"


@pytest.mark.gpu
def test_a_copy_to_a_gpu_keeps_values_and_layout():
    x = channels_last(torch.randn(2, 3, 4, 5))
    there = moved(x, torch.device("cuda"))
    assert (there.device.type, there.stride()) == ("cuda", x.stride())
    assert torch.equal(there.cpu(), x)


def test_libraries_say_nothing_that_no_user_can_act_on(monkeypatch):
    heard = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: heard.append(record.getMessage()))
    monkeypatch.setattr("edgekd.train.device.has_fast_bf16", lambda: True)
    _say_bfloat16.cache_clear()
    logs = [logging.getLogger(name) for name in ("edgekd", "lightning_fabric.utilities.rank_zero")]
    logs.append(logging.getLogger("torch.utils._pytree"))
    for log in logs:
        log.addHandler(handler)
    before = logs[0].level
    logs[0].setLevel(logging.INFO)
    try:
        assert [make_fabric()._precision.precision for _ in range(2)] == ["bf16-mixed"] * 2
        assert len(heard) == 1 and "bfloat16" in heard[0] and "AMP" not in heard[0]
        logs[2].warning("%s is an Enum subclass and is now natively supported", "KernelPreference")
        logs[2].warning("another warning")
        assert heard[1:] == ["another warning"]
    finally:
        logs[0].setLevel(before)
        for log in logs:
            log.removeHandler(handler)
