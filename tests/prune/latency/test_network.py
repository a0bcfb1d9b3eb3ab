import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgekd.errors import ModelError
from edgekd.models import count_macs
from edgekd.prune.latency import layers_of

from .conftest import SHAPE, Small


def test_layers_by_path(small):
    layers = layers_of(small, SHAPE)
    assert list(layers) == ["stem.0", "depthwise", "wide", "residual", "head"]
    assert layers["depthwise"].is_depthwise
    assert [layer.kind for layer in layers.values()] == [*["conv"] * 4, "linear"]
    assert layers["residual"].sizes == ((14, 14),)
    assert layers["head"].sizes == ((),)
    assert sum(layer.macs for layer in layers.values()) == count_macs(small, SHAPE)


def test_activations_are_found_past_a_normalisation_and_not_past_an_addition(small):
    layers = layers_of(small, SHAPE)
    assert [name for name, layer in layers.items() if layer.activation] == ["stem.0", "depthwise"]


class Activations(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu, self.inplace, self.relu6 = (nn.Conv2d(4, 4, 1) for _ in range(3))
        self.clamp, self.silu, self.plain = (nn.Conv2d(4, 4, 1) for _ in range(3))
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.relu(x))
        x = functional.relu(self.inplace(x), inplace=True)
        x = functional.relu6(self.relu6(x))
        x = torch.clamp(self.clamp(x), min=0)
        x = self.plain(functional.silu(self.silu(x)))
        return self.linear(x.flatten(2).transpose(1, 2)).relu()


def test_activations_of_all_spellings():
    layers = layers_of(Activations(), (4, 5, 5))
    active = [name for name, layer in layers.items() if layer.activation]
    assert active == ["relu", "inplace", "relu6", "clamp", "linear"]
    assert layers["linear"].sizes == ((25,),)


class Shared(nn.Module):
    """One head on two sizes, as in a detector, and a layer that works on four crops of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.crops = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        crops = torch.cat([part for half in x.chunk(2, 2) for part in half.chunk(2, 3)])
        x = self.crops(crops)
        return self.head(x).mean() + self.head(x[:1, :, ::2, ::2]).mean()


def test_a_layer_counts_as_often_as_it_is_called():
    layers = layers_of(Shared(), (3, 16, 12))
    assert layers["crops"].sizes == ((8, 6),) * 4
    assert layers["head"].sizes == (*((8, 6),) * 4, (4, 3))
    assert layers["head"].calls == 5
    assert sum(layer.macs for layer in layers.values()) == count_macs(Shared(), (3, 16, 12))


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_alone(training):
    network = Small().train(training)
    before = copy.deepcopy(network.state_dict())
    layers_of(network, SHAPE)
    assert network.training is training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_what_cannot_be_asked(small):
    with pytest.raises(ModelError, match=r"Small does not take inputs of \(1, 4, 28, 28\): Given groups=1"):
        layers_of(small, (4, 28, 28))
    with pytest.raises(ModelError, match="calls no convolution and no linear layer"):
        layers_of(nn.Sequential(nn.ReLU()), (3,))
