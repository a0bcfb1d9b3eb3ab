"""Convolutions in groups, cut by whole groups where there are enough of them, and inside of the groups otherwise."""

import copy
import json

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.export import export_onnx
from edgekd.preprocess import Preprocess
from edgekd.prune import apply_plan, prune
from edgekd.prune.graph import channel_graph
from edgekd.prune.prunable import Prunable
from tests.prune import zoo
from tests.prune.test_graph import cut_a_third, without_inputs

SHAPE = (3, 12, 12)


def chain(*layers: nn.Module) -> nn.Module:
    """``layers`` between two plain convolutions, behind 24 channels."""
    outputs = next(layer.out_channels for layer in layers[::-1] if hasattr(layer, "out_channels"))
    head = (nn.ReLU(), nn.Conv2d(outputs, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    return nn.Sequential(nn.Conv2d(3, 24, 1), nn.ReLU(), *layers, *head)


class Residual(nn.Module):
    def __init__(self, groups: int) -> None:
        super().__init__()
        self.first, self.grouped = nn.Conv2d(3, 24, 1), nn.Conv2d(24, 24, 3, padding=1, groups=groups)
        self.head = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        return self.head(F.relu(x + self.grouped(x)).mean((2, 3)))


class Skipped(nn.Module):
    """Two parts of a concatenation, each of which is read beside it as well."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, left, 1), nn.Conv2d(3, 24 - left, 1)
        self.grouped, self.after = nn.Conv2d(24, 24, 3, padding=1, groups=6), nn.Conv2d(24, 8, 1)
        self.of_left, self.of_right = nn.Conv2d(left, 8, 1), nn.Conv2d(24 - left, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        left, right = F.relu(self.left(x)), F.relu(self.right(x))
        x = self.of_left(left) + self.after(F.relu(self.grouped(torch.cat([left, right], 1)))) + self.of_right(right)
        return self.head(F.relu(x).mean((2, 3)))


class Shuffled(nn.Module):
    """The outputs of a convolution in groups reach a shuffle, its inputs do not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.grouped = nn.Conv2d(3, 24, 1), nn.Conv2d(24, 24, 1, groups=4)
        self.last, self.head = nn.Conv2d(24, 8, 1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grouped(F.relu(self.first(x)))
        n, c, h, w = x.shape
        x = x.view(n, 4, c // 4, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(F.relu(self.last(F.relu(x))).mean((2, 3)))


NETWORKS = {
    "six groups": lambda: chain(nn.Conv2d(24, 24, 3, groups=6), nn.BatchNorm2d(24)),
    "wider outputs": lambda: chain(nn.Conv2d(24, 36, 3, groups=6), nn.BatchNorm2d(36)),
    "wider inputs": lambda: chain(nn.Conv2d(24, 12, 3, groups=4), nn.BatchNorm2d(12)),
    "narrow, then wide": lambda: chain(
        nn.Conv2d(24, 12, 3, groups=6), nn.ReLU(), nn.Conv2d(12, 36, 3, groups=12), nn.BatchNorm2d(36)
    ),
    "two filters per input": lambda: chain(nn.Conv2d(24, 48, 3, groups=24), nn.BatchNorm2d(48)),
    "transposed": lambda: chain(nn.ConvTranspose2d(24, 36, 3, groups=6), nn.BatchNorm2d(36)),
    "two groups": lambda: chain(nn.Conv2d(24, 36, 3, groups=2), nn.BatchNorm2d(36)),
    "two transposed groups": lambda: chain(nn.ConvTranspose2d(24, 36, 3, groups=2), nn.BatchNorm2d(36)),
    "groups of 4, then of 6": lambda: chain(nn.Conv2d(24, 24, 3, groups=6), nn.Conv2d(24, 24, 3, groups=4)),
    "six groups, then two": lambda: chain(nn.Conv2d(24, 24, 3, groups=6), nn.Conv2d(24, 24, 3, groups=2)),
    "three narrow groups": lambda: chain(nn.Conv2d(24, 24, 3, groups=3), nn.BatchNorm2d(24)),
    "with a GroupNorm": lambda: chain(nn.Conv2d(24, 24, 3, groups=6), nn.GroupNorm(12, 24)),
    "residual": lambda: Residual(6),
    "residual of two groups": lambda: Residual(2),
    "concatenated": lambda: Skipped(8),
    "concatenated inside of a group": lambda: Skipped(10),
    "shuffled": Shuffled,
    "two inputs per filter": lambda: chain(nn.Conv2d(24, 12, 3, groups=12), nn.Conv2d(12, 12, 1)),
}


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_a_cut_is_what_the_next_layers_do_not_read(name):
    network = made(name)
    whole = copy.deepcopy(network).double()
    graph = channel_graph(network, SHAPE)
    for layer, channels in cut_a_third(network, graph).items():
        without_inputs(whole.get_submodule(layer), channels)
    images = torch.randn(2, *SHAPE, dtype=torch.float64)
    with torch.no_grad():
        expected, found = whole(images), copy.deepcopy(network).double()(images)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-9)

    plan = json.loads(json.dumps(graph.pruning_history()))
    again = apply_plan(NETWORKS[name](), plan, SHAPE).eval()
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(again(images.float()), network(images.float()))


def of_a_group(convolution: nn.Conv2d) -> tuple[int, int]:
    return convolution.in_channels // convolution.groups, convolution.out_channels // convolution.groups


@pytest.mark.parametrize("name", ["resnext", "regnet_y"])
def test_groups_stay_as_wide_as_they_are(name):
    torch.manual_seed(0)
    network = getattr(zoo, name)().eval()
    first = prune(network, zoo.SHAPE, macs=0.6, scope="global")
    second = prune(first.network, zoo.SHAPE, macs=0.6, scope="global")
    names = [name for name, each in network.named_modules() if isinstance(each, nn.Conv2d) and each.groups > 1]
    for before, after in ((network, first.network), (first.network, second.network)):
        pairs = [(before.get_submodule(name), after.get_submodule(name)) for name in names]
        assert all(of_a_group(one) == of_a_group(other) for one, other in pairs)
        assert sum(one.groups for one, _ in pairs) > sum(other.groups for _, other in pairs)
    again = apply_plan(apply_plan(getattr(zoo, name)(), first.plan, zoo.SHAPE), second.plan, zoo.SHAPE)
    again.load_state_dict(second.network.state_dict())
    images = torch.randn(2, *zoo.SHAPE)
    with torch.no_grad():
        assert torch.equal(again.eval()(images), second.network.eval()(images))


def test_a_network_with_fewer_groups_in_onnx_runtime(tmp_path):
    torch.manual_seed(0)
    network = prune(chain(nn.Conv2d(24, 48, 3, groups=6), nn.BatchNorm2d(48)), SHAPE, macs=0.6).network.eval()
    assert 1 < network[2].groups < 6 and of_a_group(network[2]) == (4, 8)
    file = export_onnx(network, tmp_path / "cut.onnx", Preprocess("image", SHAPE, (0.5,) * 3, (0.5,) * 3))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    images = torch.randn(2, *SHAPE)
    with torch.no_grad():
        expected = network(images).numpy()
    np.testing.assert_allclose(session.run(None, {"input": images.numpy()})[0], expected, atol=1e-5)


def test_few_groups_keep_multiples_of_the_step_inside():
    """Two groups of 16: 8 are left in each, or all."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 32, 1), nn.Conv2d(32, 32, 3, groups=2), nn.Conv2d(32, 8, 1), nn.Flatten())
    for share in (0.8, 0.5, 0.35):
        cut = prune(network, SHAPE, macs=share, round_to=8).network[1]
        assert cut.groups == 2
        assert set(of_a_group(cut)) <= {8, 16} and of_a_group(cut) != (16, 16)


def test_plans_that_cut_inside_of_many_groups_still_apply():
    """As they were made before whole groups could go."""
    network = NETWORKS["six groups"]()
    inside = [index for index in range(24) if index % 4 in (1, 2)]
    again = apply_plan(copy.deepcopy(network), [["2", True, inside], ["0", True, inside]], SHAPE)
    assert (again[2].groups, of_a_group(again[2])) == (6, (2, 2))
    kept = [index for index in range(24) if index not in inside]
    assert torch.equal(again[0].weight, network[0].weight[kept])
    assert torch.equal(again[2].weight, network[2].weight[kept][:, [0, 3]])
    assert torch.equal(again[5].weight, network[5].weight[:, kept])


def test_what_takes_the_images_channels_keeps_them():
    """Depthwise, in groups, or normalised: the image cannot lose channels."""
    for layer in (nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 16, 3, groups=4), nn.BatchNorm2d(4)):
        outputs = getattr(layer, "out_channels", 4)
        network = nn.Sequential(
            layer, nn.Conv2d(outputs, 16, 3, groups=4), nn.ReLU(), nn.Conv2d(16, 4, 1), nn.AdaptiveAvgPool2d(1)
        )
        cut = prune(network, (4, 9, 9), macs=0.75, round_to=1).network
        assert cut(torch.zeros(2, 4, 9, 9)).shape == (2, 4, 1, 1)


@pytest.mark.parametrize(("groups", "norm"), [(6, 12), (6, 3), (2, 4), (2, 2)])
def test_group_norms_lose_whole_groups_too(groups, norm):
    network = chain(nn.Conv2d(24, 24, 3, groups=groups), nn.GroupNorm(norm, 24))
    found = Prunable(network, SHAPE, round_to=1)
    cut, _ = found.cut([max(1, len(group.scores) // 2) for group in found.groups])
    assert cut(torch.zeros(2, *SHAPE)).shape == (2, 4)
    assert cut[3].num_channels == cut[2].out_channels < 24
    whole = groups == 6 and norm == 12
    assert cut[3].num_groups == (norm * cut[3].num_channels // 24 if whole else norm)


def squeezed(norm: nn.Module, pixels: int = 1) -> nn.Module:
    """A norm of 16 channels on a map of few pixels."""
    pooled = (nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(pixels), nn.Conv2d(8, 16, 1), norm, nn.ReLU())
    return nn.Sequential(*pooled, nn.Conv2d(16, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize(("groups", "pixels", "channels"), [(4, 1, 8), (4, 2, 4), (1, 1, 2), (1, 2, 1)])
def test_no_group_of_a_norm_is_left_with_a_single_value(groups, pixels, channels):
    """Less its own mean it would be 0, whatever the image; PyTorch refuses a batch of one such image."""
    found = Prunable(squeezed(nn.GroupNorm(groups, 16), pixels), SHAPE, round_to=1, max_ratio=1.0)
    cut, _ = found.cut([found.rounded(group, 1) for group in found.groups])
    assert (cut[3].num_groups, cut[3].num_channels) == (groups, channels)
    assert cut.train()(torch.rand(1, *SHAPE)).shape == (1, 4)


def test_a_layer_norm_keeps_two_channels():
    network = nn.Sequential(nn.Flatten(), nn.Linear(432, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 4))
    found = Prunable(network, SHAPE, round_to=1, max_ratio=1.0)
    cut, _ = found.cut([found.rounded(group, 1) for group in found.groups])
    assert cut[2].normalized_shape == (2,) and cut[1].out_features == 2


def test_a_norm_with_no_channel_to_spare_keeps_them_all():
    found = Prunable(squeezed(nn.GroupNorm(8, 16)), SHAPE, round_to=1)
    assert [str(each) for each in found.unpruned] == ["2: a norm would be left with single values"]
    assert [group.is_fixed for group in found.groups] == [root == "2" for root in found.roots]


def test_prelus_do_not_hold_channels_back():
    """Autograd shows a view of their weights."""
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.PReLU(8), nn.Conv2d(8, 8, 1), nn.PReLU(), nn.Conv2d(8, 4, 1))
    cut = prune(network, SHAPE, macs=0.5, round_to=1).network
    assert cut[1].num_parameters == cut[0].out_channels < 8
    assert cut(torch.zeros(2, *SHAPE)).shape == (2, 4, 12, 12)
