from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgekd.errors import ModelError
from edgekd.prune.latency import Layer, layers_of

CONV = Layer("conv", 16, 32, ((14, 14),), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
DEPTHWISE = replace(CONV, outputs=16, groups=16)

MODULES = [
    (nn.Conv2d(6, 8, 3, 2, 1), (6, 15, 12)),
    (nn.Conv2d(6, 9, (5, 2), (2, 3), (2, 0), (1, 2), groups=3), (6, 20, 21)),
    (nn.Conv2d(6, 8, (4, 3), padding="same", dilation=(1, 2)), (6, 11, 12)),
    (nn.Conv1d(4, 8, 7, 2, padding="valid"), (4, 33)),
    (nn.Conv3d(2, 4, (1, 3, 2), 2, 1), (2, 6, 8, 7)),
    (nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1), (4, 7, 9)),
    (nn.ConvTranspose1d(4, 6, 4, 3, dilation=2, groups=2), (4, 10)),
    (nn.Linear(12, 5), (12,)),
    (nn.Linear(12, 5), (7, 3, 12)),
]


@pytest.mark.parametrize(("module", "shape"), MODULES, ids=str)
def test_work_and_result_are_those_of_pytorch(module, shape):
    [layer] = layers_of(nn.Sequential(module), shape).values()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        output = module(torch.zeros(1, *shape))
    assert layer.elements == output.numel()
    assert layer.macs == counter.get_total_flops() / 2
    assert layer.weight_shape == tuple(module.weight.shape)
    size = tuple(output.shape[1:-1] if layer.kind == "linear" else output.shape[2:])
    assert layer.output_sizes == (size,)


def test_every_call_counts():
    twice = replace(CONV, sizes=((14, 14), (7, 7)))
    assert twice.calls == 2
    assert twice.elements == 32 * (14 * 14 + 7 * 7)
    assert list(twice.each_call()) == [CONV, replace(CONV, sizes=((7, 7),))]
    assert twice.macs == sum(each.macs for each in twice.each_call()) == 9 * 16 * 32 * (14 * 14 + 7 * 7)


def test_other_widths():
    resized = CONV.resized(8, 24)
    assert resized == replace(CONV, inputs=8, outputs=24)
    assert hash(resized) != hash(CONV)
    assert str(resized) == "conv 8>24 kernel=3x3 stride=1x1 padding=1x1x1x1 dilation=1x1 at 14x14"


def test_depthwise_stays_depthwise():
    resized = DEPTHWISE.resized(24, 24)
    assert resized.is_depthwise
    assert resized.groups == 24
    assert resized.weight_shape == (24, 1, 3, 3)
    with pytest.raises(ModelError, match="is depthwise and cannot have 16 inputs and 24 outputs: make them the same"):
        DEPTHWISE.resized(16, 24)


def test_groups_stay_as_many_unless_said():
    grouped = replace(CONV, groups=4)
    assert grouped.resized(8, 12).groups == 4
    assert not grouped.resized(8, 8).is_depthwise
    assert grouped.resized(8, 16, 2) == replace(CONV, inputs=8, outputs=16, groups=2)
    assert grouped.resized(8, 16, 2).weight_shape[1] == grouped.weight_shape[1]
    with pytest.raises(ModelError, match="give multiples of its 4 groups"):
        grouped.resized(8, 10)
    with pytest.raises(ModelError, match="give multiples of its 3 groups"):
        grouped.resized(8, 12, 3)
    with pytest.raises(ModelError, match="keep at least one"):
        CONV.resized(0, 8)


def test_texts_tell_layers_apart():
    changes = [
        *({"kind": "conv_transpose"}, {"inputs": 8}, {"outputs": 8}, {"sizes": ((14, 15),)}, {"kernel": (3, 1)}),
        *({"stride": (1, 2)}, {"padding": (1, 1, 1, 0)}, {"dilation": (2, 1)}, {"output_padding": (0, 1)}),
        *({"groups": 2}, {"activation": True}),
    ]
    texts = {str(CONV), *(str(replace(CONV, **change)) for change in changes)}
    assert len(texts) == 1 + len(changes) == 12
