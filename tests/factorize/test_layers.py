"""Which layers are factorised, and the words for those that are not."""

import copy

import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.factorize.decomposition import Positions
from edgekd.factorize.layers import find_candidates
from edgekd.models import build
from edgekd.models.fold import fold
from edgekd.models.size import macs_by_module
from tests.factorize.networks import Everything, Sequence

IMAGE = (3, 8, 8)


def test_each_kind_that_is_left_has_its_reason():
    torch.manual_seed(0)
    found, left = find_candidates(fold(Everything()), IMAGE)
    assert [one.path for one in found] == ["plain", "normed", "last"]
    assert {one.path: one.reason for one in left} == {
        "grouped": "a convolution in 4 groups",
        "depthwise": "a depthwise convolution",
        "transposed": "a transposed convolution",
        "one": "its weight is shared with another layer",
        "other": "its weight is shared with another layer",
        "read": "its weight is read without calling it",
        "watched": "it has hooks, which its factors would not have",
        "encoder.self_attn.out_proj": (
            "a NonDynamicallyQuantizableLinear, which is not a plain Linear, Conv1d or Conv2d"
        ),
        "encoder.linear1": "its weight is read without calling it",
        "encoder.linear2": "its weight is read without calling it",
        "unused": "it is not called in evaluation mode",
    }
    assert str(left[0]) == "grouped: a convolution in 4 groups"


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training):
    torch.manual_seed(0)
    network = Everything().train(training)
    before, text = copy.deepcopy(network.state_dict()), str(network)
    state = torch.get_rng_state()
    find_candidates(network, IMAGE)
    assert torch.equal(state, torch.get_rng_state())
    assert str(network) == text
    assert network.training is training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("name", "shape"), [("resnet8", (3, 16, 20)), ("torchvision/mobilenet_v3_small", (3, 32, 32)), ("mlp", (30,))]
)
def test_macs_are_those_of_the_counter(name, shape):
    network = build(name, shape, 10)
    counted = macs_by_module(network, shape)
    found, _ = find_candidates(network, shape)
    assert {one.path: one.macs for one in found} == {one.path: counted[one.path] for one in found}


def test_positions_of_a_layer_that_is_called_twice():
    network = Sequence()
    found = {one.path: one for one in find_candidates(network, (8, 32))[0]}
    assert found["first"].positions == Positions(32, 16, 16)
    assert found["blocks.0"].positions == Positions(32, 32, 32)
    assert found["last"].positions == Positions(1, 1, 1)
    assert network.block is network.blocks[0]


def test_positions_between_a_convolution_along_columns_and_one_along_rows():
    [only] = find_candidates(nn.Sequential(nn.Conv2d(3, 4, (3, 5), stride=(2, 3))), (3, 9, 11))[0]
    assert only.positions == Positions(99, 4 * 11, 4 * 3)


def test_ignored_layers_are_neither():
    found, left = find_candidates(build("resnet8", IMAGE, 10), IMAGE, ("layer*", "linear"))
    assert ([one.path for one in found], left) == (["conv1"], [])
    with pytest.raises(ModelError) as error:
        find_candidates(build("resnet8", IMAGE, 10), IMAGE, ("layer1.conv3",))
    assert str(error.value) == "factorize.ignore: 'layer1.conv3' matches no layer (did you mean 'layer1.conv2'?)"


def test_a_weight_that_is_not_finite():
    network = build("mlp", (30,), 10)
    network[3].weight.data[0, 0] = torch.inf
    with pytest.raises(ModelError) as error:
        find_candidates(network, (30,))
    assert str(error.value) == (
        "the layer '3' holds values that are not finite, which have no factors: go back to a checkpoint from before "
        "the training diverged"
    )


def test_an_input_that_the_network_does_not_take():
    with pytest.raises(ModelError) as error:
        find_candidates(build("mlp", (30,), 10), (31,))
    assert str(error.value) == (
        "Sequential does not run on inputs of (1, 31): mat1 and mat2 shapes cannot be multiplied (1x31 and 30x64); "
        "give input_shape without the batch"
    )
