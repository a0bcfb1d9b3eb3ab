import json

import pytest
import torch
from torch import nn

import edgekd
from edgekd.artifact import capture
from edgekd.errors import ModelError
from edgekd.models import build
from edgekd.prune import apply_plan, prune, widths
from edgekd.prune.depth import drop_blocks, residual_blocks
from edgekd.spec import Spec, Transform
from edgekd.train.device import lay_out

IMAGE = (3, 16, 16)


@pytest.mark.parametrize(
    ("name", "shape", "args"),
    [
        ("resnet8", IMAGE, {}),
        ("small_cnn", (1, 8, 8), {}),
        ("mlp", (1, 8, 8), {}),
        ("torchvision/mobilenet_v2", (3, 32, 32), {"width_mult": 0.25}),
    ],
)
def test_a_plan_through_json_gives_the_same_bits(name, shape, args):
    torch.manual_seed(0)
    pruned = prune(build(name, shape, 10, **args), shape, params=0.7, round_to=4, scope="layer")
    plan = json.loads(json.dumps(pruned.plan))
    torch.manual_seed(1)
    fresh = apply_plan(build(name, shape, 10, **args), plan, shape)
    fresh.load_state_dict(pruned.network.state_dict(), strict=True)
    x = torch.randn(4, *shape)
    with torch.no_grad():
        assert torch.equal(fresh.eval()(x), pruned.network.eval()(x))


@pytest.mark.parametrize(
    ("name", "shape", "args", "order"),
    [
        ("resnet20", IMAGE, {}, "depth width"),
        ("resnet20", IMAGE, {}, "width depth"),
        ("torchvision/mobilenet_v3_small", (3, 32, 32), {"width_mult": 0.25}, "depth width depth"),
    ],
)
def test_depth_and_width_in_any_order_load_to_the_same_bits(name, shape, args, order, tmp_path):
    torch.manual_seed(0)
    network = build(name, shape, 10, **args)
    network(torch.randn(8, *shape))
    blocks, plans = len(residual_blocks(network, shape)), []
    for kind in order.split():
        if kind == "depth":
            plans.append(drop_blocks(network, residual_blocks(network, shape)[:2]))
        else:
            pruned = prune(network, shape, macs=0.8, round_to=4, max_ratio=0.5)
            network = pruned.network
            plans.append(pruned.plan)
    assert len(residual_blocks(network, shape)) == blocks - 2 * order.count("depth")
    spec = Spec(name, shape, 10, args, tuple(Transform("prune", plan) for plan in plans))
    capture(network, spec).save(tmp_path)
    loaded = edgekd.load(tmp_path)
    x = torch.randn(4, *shape)
    with torch.no_grad():
        assert torch.equal(loaded(x), lay_out(network).eval()(x))
    assert widths(loaded) == widths(network)


def test_one_plan_may_mix_both():
    torch.manual_seed(0)
    channels = [["layer1.0.conv1", True, [0, 5, 7]], ["layer2.0.conv1", True, [1]]]
    mixed = [channels[0], ["layer1.1", "identity"], ["layer3.2", "identity"], channels[1], ["layer2.1", "identity"]]
    network = apply_plan(build("resnet20", IMAGE, 10), json.loads(json.dumps(mixed)), IMAGE)
    assert [network.layer1[0].conv1.out_channels, network.layer2[0].conv1.out_channels] == [13, 31]
    assert [type(block) is nn.Identity for block in (*network.layer1, *network.layer2, *network.layer3)] == [
        *(False, True, False), *(False, True, False), *(False, False, True),
    ]  # fmt: skip
    assert network(torch.randn(2, *IMAGE)).shape == (2, 10)


class Aliased(nn.Module):
    """The same block under two names, of which the forward pass reads the second."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.blocks = nn.ModuleList([nn.Conv2d(4, 4, 1)])
        self.block = self.blocks[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(self.first(x))


def test_a_block_goes_under_all_its_names():
    network = Aliased().eval()
    apply_plan(network, [["blocks.0", "identity"]], IMAGE)
    x = torch.randn(2, *IMAGE)
    assert network.block is network.blocks[0]
    assert torch.equal(network(x), network.first(x))


@pytest.mark.parametrize(
    ("plan", "path"),
    [
        ([["layer1.conv1", True, [0, 3]]], "layer1.conv1"),
        ([["layer1", "identity"]], "layer1"),
        ([["", "identity"]], ""),
        ([["1", "identity"], ["layer1", "identity"]], "layer1"),
        ([["3", "identity"], ["3", True, [0]]], "3"),
    ],
)
def test_a_plan_for_another_network(plan, path):
    network = build("mlp", IMAGE, 10)
    before = str(network)
    with pytest.raises(ModelError) as error:
        apply_plan(network, plan, IMAGE)
    assert str(error.value) == f"the channel plan names {path!r}, which Sequential does not have"
    assert str(network) == before


def test_what_is_in_a_dropped_block_is_gone():
    with pytest.raises(ModelError, match="^the channel plan names 'layer1.1.conv1', which CifarResNet does not have$"):
        apply_plan(build("resnet20", IMAGE, 10), [["layer1.1", "identity"], ["layer1.1.conv1", True, [0]]], IMAGE)


@pytest.mark.parametrize("entry", [["1", "identical"], ["1"], [1, "identity"], ["1", True, 3], ["1", 1, [0]], [], "1"])
def test_an_entry_that_is_none(entry):
    with pytest.raises(ModelError) as error:
        apply_plan(build("mlp", IMAGE, 10), [entry], IMAGE)
    assert str(error.value) == (
        f'the channel plan holds {entry}, which is neither [layer, is_output, channels] nor [block, "identity"]; '
        "prune again, or bring back the file as it was saved"
    )


def test_widths_are_output_channels():
    network = nn.ModuleDict(
        {
            "a": nn.Conv2d(1, 2, 3), "b": nn.Conv1d(1, 3, 3), "c": nn.ConvTranspose2d(1, 4, 3),
            "d": nn.Sequential(nn.Linear(1, 5)), "e": nn.BatchNorm2d(6),
        }
    )  # fmt: skip
    assert widths(network) == {"a": 2, "b": 3, "c": 4, "d.0": 5}


def test_what_is_frozen_and_modes_stay():
    """Of a cut layer too, whose weights are new."""
    torch.manual_seed(0)

    def frozen() -> nn.Module:
        network = build("resnet8", IMAGE, 10).train()
        network.layer1.conv1.weight.requires_grad_(False)
        network.bn1.eval().requires_grad_(False)
        return network

    def fixed(network: nn.Module) -> tuple[list[str], list[str]]:
        parameters = [name for name, each in network.named_parameters() if not each.requires_grad]
        return parameters, [name for name, each in network.named_modules() if not each.training]

    expected = ["bn1.weight", "bn1.bias", "layer1.conv1.weight"], ["bn1"]
    pruned = prune(frozen(), IMAGE, macs=0.5, round_to=1)
    assert pruned.network.layer1.conv1.out_channels < 16
    assert fixed(pruned.network) == expected
    assert fixed(apply_plan(frozen(), pruned.plan, IMAGE)) == expected


def test_an_input_that_the_network_does_not_take():
    network = build("resnet8", IMAGE, 10)
    for cut in (lambda shape: prune(network, shape, macs=0.5), lambda shape: residual_blocks(network, shape)):
        with pytest.raises(ModelError, match=r"ResNet8 does not take inputs of \(2, 1, 16, 16\): Given groups=1"):
            cut((1, 16, 16))
