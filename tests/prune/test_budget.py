import copy

import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.models import build, count_macs, count_parameters
from edgekd.prune import Pruned, apply_plan, prune, widths

IMAGE = (3, 16, 16)
CASES = [
    ("resnet8", IMAGE, {}, {"macs": 0.5}, 8),
    ("resnet8", IMAGE, {}, {"params": 0.3}, 4),
    ("resnet20", IMAGE, {}, {"macs": 0.4}, 8),
    ("small_cnn", (1, 8, 8), {}, {"macs": 0.6}, 4),
    ("mlp", (30,), {}, {"params": 0.5}, 8),
    ("mlp", (1, 8, 8), {"hidden": (96,)}, {"macs": 0.25}, 16),
]


def made(name: str, shape: tuple[int, ...], args: dict) -> nn.Module:
    torch.manual_seed(0)
    network = build(name, shape, 10, **args)
    network(torch.randn(8, *shape))  # BatchNorm statistics that are not 0 and 1
    return network


def cost(network: nn.Module, shape: tuple[int, ...], target: dict[str, float]) -> int:
    return count_macs(network, shape) if "macs" in target else count_parameters(network)


def assert_kept(network: nn.Module, pruned: Pruned, shape, target, round_to: int) -> None:
    [share] = target.values()
    after, before = cost(pruned.network, shape, target), cost(network, shape, target)
    assert (pruned.after, pruned.before) == (after, before)
    assert after / before == pruned.share <= share
    ours, theirs = widths(pruned.network), widths(network)
    for name, width in ours.items():
        assert width == theirs[name] or width % round_to == 0
        assert width >= 1
    assert any(width < theirs[name] for name, width in ours.items())
    x = torch.randn(4, *shape)
    with torch.no_grad():
        assert pruned.network.eval()(x).shape == (4, 10)


@pytest.mark.parametrize(("name", "shape", "args", "target", "round_to"), CASES)
def test_the_target_is_reached_and_not_by_far(name, shape, args, target, round_to):
    network = made(name, shape, args)
    pruned = prune(network, shape, **target, round_to=round_to)
    assert_kept(network, pruned, shape, target, round_to)
    [share] = target.values()
    assert pruned.share > share - 0.2, "a milder cut would have done"


def test_mobilenet_with_its_depthwise_convolutions():
    network = made("torchvision/mobilenet_v2", (3, 32, 32), {"width_mult": 0.5})
    pruned = prune(network, (3, 32, 32), macs=0.5)
    assert_kept(network, pruned, (3, 32, 32), {"macs": 0.5}, 8)
    for module in pruned.network.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            assert module.groups == module.in_channels == module.out_channels


class Grouped(nn.Module):
    """A convolution in four groups, as in ResNeXt."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 1)
        self.grouped = nn.Conv2d(32, 32, 3, padding=1, groups=4)
        self.last = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.grouped(torch.relu(self.first(x))).mean((2, 3)))


def test_groups_stay_whole():
    torch.manual_seed(0)
    network = Grouped()
    pruned = prune(network, IMAGE, macs=0.5)
    assert_kept(network, pruned, IMAGE, {"macs": 0.5}, 8)
    grouped = pruned.network.grouped
    assert grouped.groups < 4
    assert grouped.in_channels == grouped.out_channels == 8 * grouped.groups


def test_the_layer_scope_cuts_every_layer_alike():
    pruned = prune(made("resnet8", IMAGE, {}), IMAGE, macs=0.5, scope="layer", round_to=1)
    shares = {width / before for width, before in zip(
        widths(pruned.network).values(), widths(made("resnet8", IMAGE, {})).values(), strict=True
    )} - {1.0}  # fmt: skip
    assert max(shares) - min(shares) < 0.07


@pytest.mark.parametrize("training", [True, False])
def test_the_network_itself_is_left_alone(training):
    network = made("resnet8", IMAGE, {}).train(training)
    before = copy.deepcopy(network.state_dict())
    prune(network, IMAGE, macs=0.5)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], value) for name, value in after.items())
    assert network.training is training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())


def test_ignored_layers_keep_their_width():
    network = made("resnet8", IMAGE, {})
    pruned = prune(network, IMAGE, macs=0.7, ignore=("layer3.*",), round_to=1).network
    ours, theirs = widths(pruned), widths(network)
    assert all(ours[name] == theirs[name] for name in ours if name.startswith("layer3"))
    assert ours["layer1.conv1"] < theirs["layer1.conv1"]


def test_a_pattern_that_matches_nothing():
    with pytest.raises(ModelError) as error:
        prune(made("resnet8", IMAGE, {}), IMAGE, macs=0.5, ignore=("layer1.conv3",))
    assert str(error.value) == "prune.ignore: 'layer1.conv3' matches no layer (did you mean 'layer1.conv2'?)"


def test_the_least_cut_is_the_bound():
    """All widths but the classifier's halved: half of the first convolution, a quarter of the others."""
    first, others, classifier = 110_592, 1_179_648 + 2 * 917_504, 640
    assert round(100 * (first / 2 + others / 4 + classifier / 2) / (first + others + classifier)) == 26
    with pytest.raises(ModelError) as error:
        prune(made("resnet8", IMAGE, {}), IMAGE, macs=0.05, max_ratio=0.5)
    assert str(error.value) == (
        "pruning cannot reach 5% of the MACs: with max_ratio 0.5 and widths in multiples of 8 the least is 26%; "
        "raise the target or max_ratio, or lower round_to"
    )


@pytest.mark.parametrize("max_ratio", [0.25, 0.5])
def test_no_layer_loses_more_than_max_ratio(max_ratio):
    network = made("resnet8", IMAGE, {})
    pruned = prune(network, IMAGE, macs=0.8, max_ratio=max_ratio, round_to=1).network
    before = widths(network)
    assert all(width >= before[name] * (1 - max_ratio) for name, width in widths(pruned).items())


@pytest.mark.parametrize("target", [{}, {"macs": 0.5, "params": 0.5}])
def test_exactly_one_target(target):
    with pytest.raises(ModelError, match="^give exactly one of macs, params and size: the share of the network"):
        prune(made("resnet8", IMAGE, {}), IMAGE, **target)


@pytest.mark.parametrize(
    ("network", "settings", "says"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(768, 10)), {}, "no channels to prune by importance 'group_magnitude'"),
        (nn.Sequential(nn.Flatten(), nn.Linear(768, 32), nn.Linear(32, 10)), {"importance": "bn_scale"}, "'bn_scale'"),
        (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(768)), {}, "has no convolution or linear layer to prune"),
    ],
)
def test_nothing_to_prune(network, settings, says):
    with pytest.raises(ModelError) as error:
        prune(network, IMAGE, macs=0.5, **settings)
    assert str(error.value).startswith("Sequential has no ")
    assert says in str(error.value)


def test_pruned_twice():
    network = made("resnet8", IMAGE, {})
    once = prune(network, IMAGE, macs=0.7, round_to=4)
    twice = prune(once.network, IMAGE, macs=0.7, round_to=4)
    fresh = build("resnet8", IMAGE, 10)
    for plan in (once.plan, twice.plan):
        apply_plan(fresh, plan, IMAGE)
    fresh.load_state_dict(twice.network.state_dict())
    x = torch.randn(4, *IMAGE)
    with torch.no_grad():
        assert torch.equal(fresh.eval()(x), twice.network.eval()(x))


@pytest.mark.gpu
def test_on_a_gpu_the_plan_is_that_of_the_cpu():
    torch.manual_seed(0)
    network = build("resnet8", (3, 32, 32), 10)
    here, there = (prune(each, (3, 32, 32), macs=0.5) for each in (network, copy.deepcopy(network).cuda()))
    assert there.plan == here.plan
    assert {each.device.type for each in there.network.parameters()} == {"cuda"}
    assert there.network(torch.randn(2, 3, 32, 32, device="cuda")).shape == (2, 10)
