"""A cut network computes what the whole one does without the cut channels: shown on every family of torchvision's."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import torch_pruning as tp
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.prune.graph import ChannelGraph, channel_graph
from edgekd.prune.groups import find_groups
from edgekd.prune.importance import build_importance
from edgekd.prune.prunable import Prunable
from tests.prune import zoo

# Without LayerNorm over the channels that go: its mean and variance are of those that stay.
FAMILIES = (
    *("resnext", "regnet_y", "dense", "shufflenet", "squeezenet", "mobilenet_v3", "mnasnet", "efficientnet", "vgg"),
    *("googlenet", "vit", "swin", "swin_v2", "maxvit_small"),
)
SHAPE = (3, 64, 64)


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = getattr(zoo, name)().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
    return network.double()


def without_inputs(module: nn.Module, channels: list[int]) -> None:
    """Sets to zero what ``module`` reads of ``channels``."""
    with torch.no_grad():
        if isinstance(module, nn.Linear):
            module.weight[:, channels] = 0
        elif isinstance(module, nn.ConvTranspose2d):
            module.weight[channels] = 0
        else:
            wide, outputs = module.in_channels // module.groups, module.out_channels // module.groups
            for channel in channels:
                first = channel // wide * outputs
                module.weight[first : first + outputs, channel % wide] = 0


def cut_a_third(network: nn.Module, graph: ChannelGraph) -> dict[str, list[int]]:
    """Cuts some channels of every group; gives what each layer with weights reads no more, in the old numbers."""
    names, read = {module: name for name, module in network.named_modules()}, {}
    generator = torch.Generator().manual_seed(1)
    chosen = []
    for group in list(find_groups(graph, build_importance("l1"), "global", [])):
        count = len(group.scores)
        channels = replace(group, scores=torch.rand(count, generator=generator)).cut(count - count // 3)
        if not channels:
            continue
        function = graph.get_pruner_of_module(group.root).prune_out_channels
        chosen.append((group.root, function, channels))
        for dependency, idxs in graph.get_pruning_group(group.root, function, channels):
            module = dependency.target.module
            depthwise = getattr(module, "groups", 1) == getattr(module, "out_channels", 0) > 1
            reads = isinstance(module, nn.modules.conv._ConvNd | nn.Linear) and graph.is_in_channel_pruning_fn(
                dependency.handler
            )
            if reads and not depthwise:
                read.setdefault(names[module], []).extend(idxs)
    assert chosen
    for root, function, channels in chosen:
        graph.get_pruning_group(root, function, channels).prune()
    return read


@pytest.mark.parametrize("name", FAMILIES)
def test_a_cut_is_what_the_next_layers_do_not_read(name):
    network = made(name)
    whole, images = copy.deepcopy(network), torch.randn(2, *SHAPE, dtype=torch.float64)
    graph = channel_graph(network.float(), SHAPE)
    for layer, channels in cut_a_third(network, graph).items():
        without_inputs(whole.get_submodule(layer), channels)
    with torch.no_grad():
        expected, found = whole(images), network.double()(images)
    assert found.shape == (2, zoo.CLASSES)
    assert float((found - expected).abs().max()) < 1e-5 * float(expected.abs().max())


class Shuffled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.free, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return torch.relu(self.last(torch.relu(self.free(x)))).mean((2, 3))


def roots(network: nn.Module, graph: ChannelGraph) -> list[str]:
    names = {module: name for name, module in network.named_modules()}
    return [names[group[0].dep.target.module] for group in graph.get_all_groups()]


def test_what_reaches_a_shuffle_or_the_outputs_keeps_its_width():
    network = Shuffled()
    graph = channel_graph(network, (3, 4, 4))
    assert roots(network, graph) == ["free"]
    assert graph.outputs == [network.last], "the layer that gives the logits, whatever comes after it"


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.heads, self.wide = (
            nn.Linear(6, 8),
            nn.MultiheadAttention(8, 2, batch_first=True),
            nn.Linear(8, 16),
        )
        self.narrow, self.last = nn.Linear(16, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = x + self.heads(x, x, x, need_weights=False)[0]
        x = x + self.narrow(torch.relu(self.wide(x)))
        return self.last(x.mean(1))


def test_beside_attention_the_inner_layers_are_cut():
    network = Attention()
    assert roots(network, channel_graph(network, (5, 6))) == ["wide"]


class WithHead(nn.Module):
    """An auxiliary head that only runs in training, and only on images of at least 8x8."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Linear(8, 4)
        self.head = nn.Conv2d(8, 4, 8)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.norm(self.first(x))
        logits = self.last(x.mean((2, 3)))
        return (logits, self.head(x).mean((2, 3))) if self.training else logits


def test_heads_of_the_training_alone_are_cut_along():
    network = WithHead()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    graph = channel_graph(network, (3, 8, 8))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert set(graph.outputs) == {network.last, network.head}
    graph.get_pruning_group(network.first, tp.prune_conv_out_channels, [1, 5]).prune()
    assert (network.head.in_channels, network.last.in_features, network.norm.num_features) == (6, 6, 6)
    assert [tuple(part.shape) for part in network.train()(torch.zeros(2, 3, 8, 8))] == [(2, 4), (2, 4)]


def test_a_head_that_does_not_run():
    with pytest.raises(ModelError) as error:
        channel_graph(WithHead(), (3, 4, 4))
    assert str(error.value).startswith(
        "WithHead has layers that run in training only, and fails there on an input of (2, 3, 4, 4): "
    )
    assert str(error.value).endswith("; build it without them (aux_logits: false), or for larger images")


class BesideShuffle(nn.Module):
    """A decoder's level: what a pixel shuffle enlarged, beside a map of that size."""

    def __init__(self) -> None:
        super().__init__()
        self.skip, self.low = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, 2, 1)
        self.join, self.last = nn.Conv2d(12, 6, 1), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.skip(x).relu()
        return self.last(self.join(torch.cat((skip, F.pixel_shuffle(self.low(skip), 2)), 1)).relu())


def test_channels_that_become_one_are_counted_once():
    prunable = Prunable(BesideShuffle().eval(), (3, 8, 8), round_to=1)
    assert not prunable.unpruned
    cut, _ = prunable.cut([len(group.scores) // 2 for group in prunable.groups])
    assert (cut.skip.out_channels, cut.low.out_channels, cut.join.in_channels) == (4, 8, 6)
    assert cut.join.weight.shape == (3, 6, 1, 1) and cut(torch.zeros(2, 3, 8, 8)).shape == (2, 2, 8, 8)
