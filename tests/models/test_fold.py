"""Computed weights become plain ones, with the same outputs, in whatever way they were computed."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils import weight_norm as old_weight_norm

import edgekd
from edgekd.artifact import capture
from edgekd.errors import ModelError
from edgekd.files import sha256_file
from edgekd.models import Checkpoint
from edgekd.models.copies import copied
from edgekd.models.fold import fold
from edgekd.prune import prune as prune_channels
from edgekd.spec import Spec, Transform
from edgekd.stages.network import build_spec


class Symmetric(nn.Module):
    """Has no inverse, as most parametrisations that users write."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight + weight.flip(-1)


WAYS = {
    "weight_norm": parametrizations.weight_norm,
    "weight_norm_of_all": partial(parametrizations.weight_norm, dim=None),
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "own": lambda layer: parametrize.register_parametrization(layer, "weight", Symmetric()) or layer,
    "two": lambda layer: parametrizations.spectral_norm(
        parametrize.register_parametrization(layer, "bias", Symmetric()) or layer
    ),
    "old_weight_norm": old_weight_norm,
    "old_spectral_norm": old_spectral_norm,
    "masked": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
}
SHAPE = (3, 6, 6)


def build(way: str = "weight_norm", input_shape: tuple[int, ...] = SHAPE, num_classes: int = 4) -> nn.Module:
    torch.manual_seed(0)
    layers = (WAYS[way](nn.Conv2d(3, 16, 3)), nn.ReLU(), WAYS[way](nn.Conv2d(16, 8, 3)), nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, num_classes))


@pytest.mark.parametrize("way", WAYS)
def test_the_same_outputs_with_plain_weights(way):
    network, x = build(way).eval(), torch.randn(2, *SHAPE)
    network(x)  # older hooks keep the weight that they computed
    folded = fold(copied(network)).train()
    plain = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 8, 3), *network[3:])
    assert folded.state_dict().keys() == plain.state_dict().keys()
    assert all(type(layer) is nn.Conv2d and not layer._forward_pre_hooks for layer in (folded[0], folded[2]))
    assert all(parameter.requires_grad for parameter in folded.parameters())
    assert torch.allclose(folded.eval()(x), network(x), atol=1e-6), "and the network that was copied is as it was"


def test_a_recurrent_layer():
    layer = parametrizations.weight_norm(nn.LSTM(4, 5, batch_first=True), "weight_hh_l0")
    x = torch.randn(2, 3, 4)
    before = layer(x)[0]
    assert torch.equal(fold(layer)(x)[0], before)
    assert "weight_hh_l0" in dict(layer.named_parameters())


def test_what_cannot_be_folded():
    class Broken(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            raise RuntimeError("only on Sundays")

    layer = nn.Linear(2, 2)
    network = nn.Sequential(parametrize.register_parametrization(layer, "weight", Symmetric()))
    network[0].parametrizations["weight"][0].forward = Broken().forward
    with pytest.raises(ModelError) as error:
        fold(network)
    assert str(error.value) == (
        "the parametrisation of '0' cannot be folded into plain weights: only on Sundays; remove it before the "
        "network is given to edgekd"
    )


@pytest.mark.parametrize("way", ["weight_norm", "old_weight_norm", "spectral_norm", "masked"])
def test_cut_saved_and_reloaded_to_the_bit(way, tmp_path):
    network = build(way).eval()
    pruned = prune_channels(network, SHAPE, macs=0.6, round_to=1)
    builder = f"{Path(__file__)}:build"
    spec = Spec(
        builder,
        SHAPE,
        4,
        {"way": way},
        transforms=(Transform("prune", pruned.plan),),
        code=(sha256_file(Path(__file__)),),
    )
    capture(pruned.network, spec).save(tmp_path)
    x = torch.randn(2, *SHAPE)
    assert torch.equal(edgekd.load(tmp_path)(x), pruned.network.eval()(x))


def test_a_checkpoint_is_loaded_before(tmp_path):
    trained = build()
    torch.nn.init.normal_(trained[0].parametrizations.weight.original1)
    torch.save(trained.state_dict(), tmp_path / "trained.pt")
    spec = Spec(f"{Path(__file__)}:build", SHAPE, 4, code=(sha256_file(Path(__file__)),))
    network = build_spec(spec, Checkpoint(tmp_path / "trained.pt"))
    assert torch.equal(network[0].weight, trained[0].weight)
