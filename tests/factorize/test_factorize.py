"""Whole networks to a share of their multiply-accumulates, or of each layer's energy."""

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.factorize import apply_plan, factorize, must_reach
from edgekd.models import build, count_macs
from tests.factorize.networks import Everything, Mobile, Sequence

IMAGE = (3, 16, 16)


def made(name: str, shape: tuple[int, ...] = IMAGE, **args: object) -> nn.Module:
    torch.manual_seed(0)
    return build(name, shape, 10, **args)


def low_rank() -> nn.Module:
    """A small network whose convolutions have ranks of a fourth and less."""
    network = made("small_cnn", IMAGE, width=32)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            outputs, inputs, height, width = layer.weight.shape
            ranks = -(-outputs // 4), -(-inputs // 4)
            core = torch.randn(*ranks, height, width)
            out, into = torch.randn(outputs, ranks[0]), torch.randn(inputs, ranks[1])
            layer.weight.data = torch.einsum("bahw,ob,ia->oihw", core, out, into) / outputs
    return network


@pytest.mark.parametrize("macs", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("name", ["resnet8", "mobile"])
def test_the_share_of_macs_is_kept_to_and_used(name, macs):
    network = made(name) if name != "mobile" else Mobile()
    found = factorize(network, IMAGE, macs=macs, round_to=1)
    assert found.share <= macs
    assert found.share > macs - 0.05
    assert found.before == count_macs(network, IMAGE)
    assert found.after == count_macs(found.network, IMAGE)
    assert found.before - found.after == sum(layer.before - layer.after for layer in found.layers)
    assert all(layer.after < layer.before for layer in found.layers)


def test_one_energy_for_all_layers():
    found = factorize(made("resnet8"), IMAGE, macs=0.5, round_to=1)
    again = factorize(made("resnet8"), IMAGE, energy=found.energy, round_to=1)
    assert again.plan == found.plan
    assert min(layer.energy for layer in found.layers) >= found.energy
    # None keeps far more than it must: one rank less would be too few.
    svd = [layer for layer in found.layers if layer.method != "tucker" and layer.ranks[0] > 8]
    assert svd
    assert max(layer.energy for layer in svd) < found.energy + 0.06


def test_a_layer_keeps_the_energy_that_its_weights_say():
    network = made("resnet8")
    found = factorize(network, IMAGE, energy=0.6, round_to=1)
    spatial = next(layer for layer in found.layers if layer.method == "spatial")
    weight = network.get_submodule(spatial.path).weight.detach().double().numpy()
    values = np.linalg.svd(weight.transpose(1, 2, 0, 3).reshape(weight.shape[1] * 3, -1), compute_uv=False) ** 2
    shares = values.cumsum() / values.sum()
    [rank] = spatial.ranks
    assert shares[rank - 2] < 0.6 <= shares[rank - 1]
    assert spatial.energy == pytest.approx(shares[rank - 1])


def test_a_network_of_low_rank_loses_nothing():
    network = low_rank().eval()
    found = factorize(network, IMAGE, energy=1 - 1e-9, round_to=1)
    assert found.share < 0.35
    x = torch.randn(4, *IMAGE)
    with torch.no_grad():
        torch.testing.assert_close(found.network(x), network(x), rtol=1e-4, atol=1e-4)


def test_sequences():
    torch.manual_seed(0)
    found = factorize(Sequence(), (8, 32), macs=0.5, round_to=4)
    assert found.share <= 0.5
    assert {layer.path for layer in found.layers} >= {"first", "blocks.0"}
    assert found.network.block is found.network.blocks[0]
    assert {type(part) for part in found.network.block} == {nn.Conv1d}
    assert found.network(torch.randn(2, 8, 32)).shape == (2, 10)


def test_ranks_are_multiples_or_full():
    found = factorize(made("resnet8"), IMAGE, macs=0.6)
    for layer in found.layers:
        widths = made("resnet8").get_submodule(layer.path).weight.shape[:2]
        assert all(rank % 8 == 0 or rank in widths for rank in layer.ranks)


@pytest.mark.parametrize("methods", [("svd",), ("tucker",), ("spatial", "svd")])
def test_the_methods_that_may_be(methods):
    found = factorize(made("resnet8"), IMAGE, energy=0.6, methods=methods)
    assert {layer.method for layer in found.layers} <= {*methods}
    left = {layer.path: layer.reason for layer in found.left}
    assert ("layer1.conv1" in left) == (methods == ("svd",))
    assert all(reason == "no factors are cheaper at 60.0% of its energy" for reason in left.values())


def test_left_layers_are_told_in_the_order_of_the_network():
    torch.manual_seed(0)
    found = factorize(Everything(), (3, 8, 8), energy=0.5, round_to=1)
    paths = [name for name, _ in Everything().named_modules()]
    left = [layer.path for layer in found.left]
    assert left == sorted(left, key=paths.index)
    assert {layer.path for layer in found.layers} == {"plain", "normed", "last"}
    assert found.network(torch.randn(2, 3, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_itself_is_left_alone(training):
    network = made("resnet8").train(training)
    network.layer1.conv1.weight.requires_grad_(False)
    before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    found = factorize(network, IMAGE, macs=0.5)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(module.training is training for module in (*network.modules(), *found.network.modules()))
    frozen = [name for name, parameter in found.network.named_parameters() if not parameter.requires_grad]
    assert frozen == [f"layer1.conv1.{index}.weight" for index in range(len(found.network.layer1.conv1))]


def test_the_same_network_gives_the_same_weights():
    first, second = (factorize(made("resnet8"), IMAGE, macs=0.5) for _ in range(2))
    assert first.plan == second.plan
    ours, theirs = first.network.state_dict(), second.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_other_types_stay():
    found = factorize(made("mlp", (30,)).to(torch.bfloat16), (30,), energy=0.5)
    assert {parameter.dtype for parameter in found.network.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("target", [{}, {"macs": 0.5, "energy": 0.5}])
def test_exactly_one_target(target):
    with pytest.raises(ModelError, match="^give exactly one of macs and energy: the share of the network, or of each"):
        factorize(made("resnet8"), IMAGE, **target)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"macs": 1.0}, "macs must be a number above 0 and below 1, got 1.0"),
        ({"energy": 0}, "energy must be a number above 0 and below 1, got 0"),
        ({"macs": 0.5, "round_to": 0}, "round_to must be a whole number of at least 1, got 0"),
        ({"macs": 0.5, "methods": ("cp",)}, "unknown factorisation method 'cp'; known: spatial, svd, tucker"),
    ],
)
def test_settings_that_cannot_be(settings, says):
    with pytest.raises(ModelError) as error:
        factorize(made("resnet8"), IMAGE, **settings)
    assert str(error.value).replace("a finite number above", "a number above") == says


def test_the_least_share_is_the_bound():
    """Rank 8 everywhere: 2 · 8 · 16 values of 64 · 10 in the last layer, and so on."""
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
    least = 8 * (64 + 64) + 8 * (64 + 32), 64 * 64 + 64 * 32
    with pytest.raises(ModelError) as error:
        factorize(network, (64,), macs=0.2)
    assert str(error.value) == (
        "factorisation cannot reach 20.0% of the MACs: with ranks in multiples of 8 the least is 29.2%; raise macs, "
        "lower round_to, or ignore fewer layers"
    )
    assert least[0] / least[1] == pytest.approx(0.2917, abs=1e-4)
    assert factorize(network, (64,), macs=0.292).after == least[0]


def test_nothing_gets_cheaper():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 64))
    with pytest.raises(ModelError) as error:
        factorize(network, (64,), energy=0.999, round_to=1)
    values = np.linalg.svd(network[0].weight.detach().double().numpy(), compute_uv=False) ** 2
    most = values[:31].sum() / values.sum()  # 32 · (64 + 64) is the layer itself
    words = f"{np.floor(1000 * most) / 10}%"
    assert str(error.value) == (
        f"no layer gets cheaper while it keeps 99.9% of its energy; the most at which one does is {words}: lower "
        "energy or round_to"
    )
    assert factorize(network, (64,), energy=float(np.floor(1000 * most) / 1000), round_to=1).layers[0].ranks == (31,)


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (nn.Linear(16, 16), "Linear has no layer to factorise: leave the stage out"),
        (nn.Sequential(nn.Flatten(), nn.ReLU()), "Sequential has no layer to factorise: leave the stage out"),
        (
            nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.Flatten()),
            "Sequential has no layer to factorise: leave the stage out. Left whole: 0: a depthwise convolution",
        ),
        (
            nn.Sequential(nn.Linear(16, 2), nn.ReLU(), nn.Linear(2, 2)),
            "no layer gets cheaper while it keeps 50.0% of its energy, nor at any other share: lower round_to, ignore "
            "fewer layers, or leave the stage out",
        ),
    ],
)
def test_nothing_to_factorise(network, says):
    with pytest.raises(ModelError) as error:
        factorize(network, (3, 16, 16), energy=0.5)
    assert str(error.value) == says


def test_the_least_share_does_not_depend_on_the_weights():
    network = made("resnet8")
    with pytest.raises(ModelError) as error:
        factorize(network, IMAGE, macs=0.01)
    with pytest.raises(ModelError) as reached:
        must_reach(made("resnet8"), IMAGE, macs=0.01)
    assert str(error.value) == str(reached.value)
    least = float(str(error.value).partition("the least is ")[2].partition("%")[0]) / 100
    # At random weights, the flattest of spectra, too.
    assert least - 0.001 < factorize(network, IMAGE, macs=least).share <= least


def test_what_is_left_whatever_the_weights():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 16, 1), nn.Conv2d(16, 64, 3), nn.Flatten())
    assert [str(layer) for layer in must_reach(network, IMAGE, macs=0.9)] == [
        "0: a depthwise convolution",
        "1: no factors are cheaper at any rank",
    ]
    assert must_reach(network, IMAGE, ignore=("0", "1")) == ()


def test_nothing_is_decomposed_to_know_what_can_be_reached(monkeypatch):
    monkeypatch.setattr(torch.linalg, "eigvalsh", None)
    assert must_reach(made("resnet8"), IMAGE, macs=0.5) == ()
    with pytest.raises(TypeError):
        factorize(made("resnet8"), IMAGE, macs=0.5)


@pytest.mark.gpu
def test_on_a_gpu_the_factors_lie_there():
    torch.manual_seed(0)
    network = build("resnet8", (3, 32, 32), 10)
    here, there = (factorize(each, (3, 32, 32), macs=0.6) for each in (network, copy.deepcopy(network).cuda()))
    assert there.plan == here.plan
    assert {each.device.type for each in there.network.parameters()} == {"cuda"}


def test_a_plan_is_plain_json_whatever_the_kind_of_number():
    found = factorize(made("resnet8"), IMAGE, macs=np.float32(0.5), round_to=np.int64(4))
    assert json.loads(json.dumps(found.plan)) == found.plan
    assert found.plan == factorize(made("resnet8"), IMAGE, macs=0.5, round_to=4).plan
    apply_plan(made("resnet8"), found.plan)


def test_a_bias_that_trains_alone_trains_on():
    network = made("mlp")
    network[1].weight.requires_grad_(False)
    network[3].bias.requires_grad_(False)
    factors = factorize(network, IMAGE, energy=0.5, round_to=1).network
    frozen = [name for name, parameter in factors.named_parameters() if not parameter.requires_grad]
    assert frozen == ["1.0.weight", "1.1.weight", "3.1.bias"]
