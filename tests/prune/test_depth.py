import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import rel_entr, softmax
from torch import Tensor, nn
from torchvision import models as tv
from torchvision.models.convnext import CNBlock, CNBlockConfig
from torchvision.models.efficientnet import MBConv
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.mobilenetv3 import InvertedResidual as InvertedResidualV3
from torchvision.models.regnet import BlockParams, RegNet, ResBottleneckBlock
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.vision_transformer import EncoderBlock

from edgekd.errors import ModelError
from edgekd.models import build, count_macs, count_parameters
from edgekd.models.batchnorm import reestimate
from edgekd.prune.depth import cut_depth, drop_blocks, name_of, rank_blocks, residual_blocks
from edgekd.prune.plan import apply_plan
from edgekd.tasks.classification.train import divergence

IMAGE, SMALL = (3, 32, 32), (3, 8, 8)

BY_NAME = {
    "ResNet-18": (tv.resnet18, BasicBlock, lambda block: block.downsample is None),
    "Bottlenecks": (lambda: tv.ResNet(Bottleneck, [2, 2, 1, 2], width_per_group=16), Bottleneck,
                    lambda block: block.downsample is None),
    "MobileNetV2": (lambda: tv.mobilenet_v2(width_mult=0.25), InvertedResidual, lambda block: block.use_res_connect),
    "MobileNetV3": (lambda: tv.mobilenet_v3_small(width_mult=0.5), InvertedResidualV3,
                    lambda block: block.use_res_connect),
    "EfficientNet": (tv.efficientnet_b0, MBConv, lambda block: block.use_res_connect),
    "ConvNeXt": (lambda: tv.ConvNeXt([CNBlockConfig(8, 16, 2), CNBlockConfig(16, None, 2)], 0.1), CNBlock,
                 lambda block: True),
    "RegNet": (lambda: RegNet(BlockParams.from_init_params(4, 16, 10.0, 2.5, 8, se_ratio=0.25)), ResBottleneckBlock,
               lambda block: block.proj is None),
    "ViT": (lambda: tv.VisionTransformer(32, 8, 3, 2, 16, 32), EncoderBlock, lambda block: True),
}  # fmt: skip


@pytest.mark.parametrize("family", BY_NAME)
def test_the_residual_blocks_of_a_family(family):
    make, kind, is_residual = BY_NAME[family]
    network = make()
    expected = [name for name, block in network.named_modules() if isinstance(block, kind) and is_residual(block)]
    assert len(expected) >= 2
    assert residual_blocks(network, IMAGE) == expected
    assert network.training
    drop_blocks(network, expected)
    assert network.eval()(torch.randn(2, *IMAGE)).isfinite().all()


class Choosy(nn.Module):
    """Takes no weights of zero."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Linear(2, 2)

    def forward(self, x):
        if not self.scale.weight.any():
            raise ValueError("all weights are zero")
        return x + self.scale(x)


def test_a_module_that_cannot_be_silenced_is_no_block():
    assert residual_blocks(nn.Sequential(Choosy(), Scaling(2.0, 1)), (2,)) == ["1"]


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_too_little_memory_says_nothing_of_a_block(error, monkeypatch):
    def fails(*_: object) -> Tensor:
        raise error("out of memory")

    monkeypatch.setattr("edgekd.prune.depth.functional_call", fails)
    with pytest.raises(error):
        residual_blocks(build("resnet8", SMALL, 10), SMALL)


def test_our_own_networks():
    within = ["layer1.0", "layer1.1", "layer1.2", "layer2.1", "layer2.2", "layer3.1", "layer3.2"]
    assert residual_blocks(build("resnet20", IMAGE, 10), IMAGE) == within
    padded = build("resnet20", IMAGE, 10, shortcut="pad")
    assert residual_blocks(padded, IMAGE) == within
    assert residual_blocks(build("resnet8", IMAGE, 10), IMAGE) == ["layer1"]
    assert residual_blocks(build("small_cnn", IMAGE, 10), IMAGE) == []


class Residual(nn.Module):
    def __init__(self, after: nn.Module | None = None):
        super().__init__()
        self.linear, self.after = nn.Linear(4, 4), after or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.after(x + self.linear(x))


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.linear(x))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return x + self.linear(other)


class Mixture(nn.Module):
    """Of everything that keeps the shape, two modules are blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.relu_block = Residual(), Residual(nn.ReLU())
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.gate = Gate()
        self.normalised = Residual(nn.LayerNorm(4))
        self.slopes = nn.Sequential(nn.PReLU(4), nn.Dropout())
        self.nothing = nn.Sequential(nn.Dropout())
        self.twice, self.two_inputs, self.by_name, self.unused = Residual(), TwoInputs(), Residual(), Residual()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu_block(self.block(x))
        x = self.normalised(self.gate(self.layers(x)))
        x = self.nothing(self.slopes(x))
        return self.by_name(x=self.two_inputs(self.twice(self.twice(x)), x))


def test_only_residual_blocks_that_identity_can_stand_in_for():
    assert residual_blocks(Mixture(), (4,)) == ["block", "relu_block"]


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_it_does_not_depend_on_the_weights(value):
    network = build("resnet20", IMAGE, 10)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)
    assert residual_blocks(network, IMAGE) == residual_blocks(build("resnet20", IMAGE, 10), IMAGE)


def test_dropped_blocks_hand_on_what_they_are_given():
    torch.manual_seed(0)
    network = build("resnet20", IMAGE, 10).eval()
    x = torch.randn(4, *IMAGE)
    with torch.no_grad():
        y = F.relu(network.bn1(network.conv1(x)))
        y = network.layer1[2](network.layer1[0](y))
        y = network.layer2[2](network.layer2[1](network.layer2[0](y)))
        y = network.linear(network.layer3[0](y).mean((2, 3)))
        plan = drop_blocks(network, ["layer1.1", "layer3.1", "layer3.2"])
        assert network(x).numpy() == pytest.approx(y.numpy(), abs=1e-5)
    assert plan == [["layer1.1", "identity"], ["layer3.1", "identity"], ["layer3.2", "identity"]]


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (
            ["layer1.1", "layer1.22"],
            "cannot drop 'layer1.22': CifarResNet has no such block (did you mean 'layer1.2'?)",
        ),
        ([""], "cannot drop '': CifarResNet has no such block"),
        (["layer1", "layer1.0"], "the channel plan names 'layer1.0', which CifarResNet does not have"),
    ],
)
def test_a_block_that_is_not_there(paths, says):
    network = build("resnet20", IMAGE, 10)
    before = str(network)
    with pytest.raises(ModelError) as error:
        drop_blocks(network, paths)
    assert str(error.value) == says
    assert str(network) == before


class Scaling(nn.Module):
    """x + a x, through ``size`` times as many channels."""

    def __init__(self, factor: float, size: int):
        super().__init__()
        self.down, self.up = nn.Linear(2, 2 * size, bias=False), nn.Linear(2 * size, 2, bias=False)
        with torch.no_grad():
            self.down.weight.copy_(torch.eye(2).repeat(size, 1))
            self.up.weight.copy_((factor - 1) / size * torch.eye(2).repeat(1, size))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(self.down(x))


def scalings(*blocks: tuple[float, int]) -> nn.Sequential:
    """Each block multiplies by its factor; it has 8 parameters times its size."""
    return nn.Sequential(*(Scaling(factor, size) for factor, size in blocks))


def shift(whole: nn.Module):
    """How far a network's output is from ``whole``'s, as a logarithm: that of the factors which are missing."""
    x = torch.ones(1, 2)
    exact = whole(x).detach()
    return lambda network: float((network(x).detach() / exact).log().abs()[0, 0])


def test_each_block_is_ranked_alone_the_least_degradation_first():
    network = scalings((2.0, 1), (1.25, 1), (0.4, 1))
    ranked = rank_blocks(network, ["0", "1", "2"], shift(network))
    assert [block for block, _ in ranked] == ["1", "0", "2"]
    assert [value for _, value in ranked] == pytest.approx([math.log(1.25), math.log(2), math.log(2.5)], rel=1e-4)


def test_divergence_against_a_forward_pass_that_goes_around_the_block():
    torch.manual_seed(0)
    network = build("resnet20", SMALL, 10)
    network(torch.randn(16, *SMALL))
    network.eval()
    x, blocks = torch.randn(8, *SMALL), residual_blocks(network, SMALL)
    with torch.no_grad():
        exact = network(x)
        found = dict(rank_blocks(network, blocks, lambda shorter: float(divergence(shorter(x), exact).mean())))
        whole = softmax(network(x).double().numpy(), 1)
        for block in blocks:
            hook = network.get_submodule(block).register_forward_hook(lambda _, given, output: given[0])
            around = softmax(network(x).double().numpy(), 1)
            hook.remove()
            assert found[block] == pytest.approx(rel_entr(whole, around).sum(1).mean(), rel=1e-3)
    assert list(found.values()) == sorted(found.values())


def test_the_network_stays_as_it_is_whatever_is_done_to_its_copy():
    network = build("resnet20", SMALL, 10)
    network.layer2.eval()
    before, modes = copy.deepcopy(network.state_dict()), [module.training for module in network.modules()]
    inputs = torch.randn(4, *SMALL)

    def degradation(shorter: nn.Module) -> float:
        assert not any(module.training for module in shorter.modules())
        reestimate(shorter, [inputs])
        return float(shorter.train()(inputs).sum())

    rank_blocks(network, residual_blocks(network, SMALL), degradation)
    short = cut_depth(network, SMALL, cost=count_parameters, target=0.95, degradation=degradation, greedy=False)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert short.network.training and not short.network.layer2.training


@pytest.mark.parametrize("greedy", [True, False])
def test_the_least_degradation_for_the_cost_saved_goes_first(greedy):
    """Degradations of 0.693, 0.095, 0.405 and 0.182 over 1, 1, 4 and 2 parts of 8: the fourth, second, third, first."""
    blocks = ((2.0, 1), (1.1, 1), (1.5, 4), (1.2, 2))
    network = scalings(*blocks)
    logs = np.log([factor for factor, _ in blocks])
    ratios = logs / [size for _, size in blocks]
    assert list(np.argsort(ratios)) == [3, 1, 2, 0]
    for target, count in [(0.99, 1), (0.75, 1), (0.74, 2), (0.625, 2), (0.62, 3), (0.125, 3), (0.01, 4)]:
        short = cut_depth(
            network, (2,), cost=count_parameters, target=target, degradation=shift(network), greedy=greedy
        )
        assert [block for block, _ in short.dropped] == ["3", "1", "2", "0"][:count]
        assert short.plan == [[block, "identity"] for block, _ in short.dropped]
        alone = logs[[3, 1, 2, 0]][:count]
        assert [value for _, value in short.dropped] == pytest.approx(np.cumsum(alone) if greedy else alone, rel=1e-4)
        assert short.after == count_parameters(short.network) == 64 * short.share
        assert short.share <= target


@pytest.mark.parametrize(("greedy", "second", "factor"), [(True, "1", 5 / 1.5), (False, "0", 4)])
def test_greedily_it_sees_that_two_blocks_undo_each_other(greedy, second, factor):
    """The factor 1.5 goes first. Without 1/5 too the output is 5/1.5 off, without 4 as well as 1.5 six times."""
    network = scalings((4.0, 1), (0.2, 1), (1.5, 1))
    short = cut_depth(network, (2,), cost=count_parameters, target=0.34, degradation=shift(network), greedy=greedy)
    assert [block for block, _ in short.dropped] == ["2", second]
    assert short.dropped[-1][1] == pytest.approx(math.log(factor), rel=1e-4)


def test_a_further_cut_measures_only_what_those_before_it_have_not():
    network, measured, known = scalings((4.0, 1), (0.2, 1), (1.5, 1), (3.0, 1)), [], {}

    def degradation(shorter: nn.Module) -> float:
        measured.append(shorter)
        return shift(network)(shorter)

    for target, count in ((0.8, 1 + 4), (0.8, 0), (0.3, 3 + 2), (0.5, 0)):
        measured.clear()
        short = cut_depth(
            network, (2,), cost=count_parameters, target=target, degradation=degradation, known=known
        )  # fmt: skip
        alone = cut_depth(network, (2,), cost=count_parameters, target=target, degradation=shift(network))
        assert (len(measured), short.dropped) == (count, alone.dropped)
    assert set(known) >= {"", "0", "2", name_of(["2", "0"])}


def test_of_harmless_blocks_the_one_that_saves_most_goes_first():
    network = scalings((1.5, 1), (1.0, 1), (1.0, 3), (1.0, 2))
    short = cut_depth(network, (2,), cost=count_parameters, target=0.3, degradation=shift(network))
    assert [block for block, _ in short.dropped] == ["2", "3"]


def test_a_block_without_which_there_is_no_output_stays():
    network = scalings((3.0, 1), (2.0, 1), (1.5, 1))

    def degradation(shorter: nn.Module) -> float:
        return math.nan if isinstance(shorter[2], nn.Identity) else shift(network)(shorter)

    assert rank_blocks(network, ["2", "0", "1"], degradation)[-1] == ("2", math.inf)
    short = cut_depth(network, (2,), cost=count_parameters, target=0.4, degradation=degradation)
    assert [block for block, _ in short.dropped] == ["1", "0"]
    with pytest.raises(ModelError) as error:
        cut_depth(network, (2,), cost=count_parameters, target=0.3, degradation=degradation)
    assert str(error.value) == (
        "dropping blocks cannot reach 30% of the cost: without 2 residual blocks, all that Sequential can spare, 33% "
        "is left; raise the target, or cut channels too"
    )
    with pytest.raises(ModelError, match="^the degradation of the uncut network is not finite"):
        cut_depth(network, (2,), cost=count_parameters, target=0.9, degradation=lambda _: math.nan)


@pytest.mark.parametrize(
    ("name", "blocks", "left"),
    [("resnet20", 7, "19%"), ("resnet8", 1, "62%")],
)
def test_the_least_that_can_be_reached_is_known_before_any_measurement(name, blocks, left):
    """ResNet-20 has 40,813,184 MACs at 32x32 with its two projections, each of the seven blocks 4,718,592."""
    measured = []
    with pytest.raises(ModelError) as error:
        cut_depth(
            build(name, IMAGE, 10), IMAGE, cost=lambda n: count_macs(n, IMAGE), target=0.1, degradation=measured.append
        )
    assert f"cannot reach 10% of the cost: without {blocks} residual blocks, " in str(error.value)
    assert f" can spare, {left} is left; raise the target, or cut channels too" in str(error.value)
    assert not measured


def test_of_a_network_without_residual_blocks_that_is_said():
    measured = []
    network = build("small_cnn", IMAGE, 10)
    with pytest.raises(ModelError, match="has no residual block that it can spare; leave depth out, and cut"):
        cut_depth(network, IMAGE, cost=lambda n: count_macs(n, IMAGE), target=0.1, degradation=measured.append)
    assert not measured


def test_the_plan_makes_the_same_network():
    torch.manual_seed(0)
    network = build("resnet20", SMALL, 10)
    short = cut_depth(network, SMALL, cost=count_parameters, target=0.8, degradation=lambda n: -count_parameters(n))
    fresh = apply_plan(build("resnet20", SMALL, 10), short.plan, SMALL)
    fresh.load_state_dict(short.network.state_dict())
    x = torch.randn(4, *SMALL)
    assert torch.equal(fresh.eval()(x), short.network.eval()(x))
    assert count_parameters(short.network) == short.after <= 0.8 * short.before == 0.8 * count_parameters(network)
