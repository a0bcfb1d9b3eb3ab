"""Small networks, and what each layer of one of their groups has of a channel, written down by hand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torch_pruning as tp
from torch import nn

from edgekd.prune.graph import channel_graph

ALL = slice(None)
Part = tuple[str, str, Any]  # the layer's path, whether it is "out", "in" or "norm", and the index into its weight


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv1, self.norm1 = nn.Conv2d(6, 5, 3, padding=1), nn.BatchNorm2d(5)
        self.conv2, self.norm2 = nn.Conv2d(5, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))
        return self.head(x.mean((2, 3)))


class Concatenated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.joined = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(9, 4, 1)

    def forward(self, x):
        return self.joined(torch.cat([self.left(x), self.right(x)], 1)).mean((2, 3))


class PartlyConcatenated(nn.Module):
    """``left`` and ``right`` each have some of the channels of ``whole``."""

    def __init__(self) -> None:
        super().__init__()
        self.whole, self.left, self.right = nn.Conv2d(3, 7, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 4, 1)
        self.norm, self.head = nn.BatchNorm2d(7), nn.Linear(7, 4)

    def forward(self, x):
        return self.head(self.norm(self.whole(x) + torch.cat([self.left(x), self.right(x)], 1)).mean((2, 3)))


class Depthwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.expand, self.depth = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.project, self.head = nn.Conv2d(6, 5, 1), nn.Linear(5, 4)

    def forward(self, x):
        return self.head(self.project(F.relu(self.depth(F.relu(self.expand(x))))).mean((2, 3)))


class Grouped(nn.Module):
    """Two groups of 10 inputs and 12 outputs, too wide to go; a transposed convolution in two groups; GroupNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.grouped = nn.Conv2d(3, 20, 1), nn.Conv2d(20, 24, 3, padding=1, groups=2)
        self.up, self.norm = nn.ConvTranspose2d(24, 20, 2, groups=2), nn.GroupNorm(2, 20)
        self.head = nn.Linear(20, 4)

    def forward(self, x):
        return self.head(F.relu(self.norm(self.up(F.relu(self.grouped(self.first(x)))))).mean((2, 3)))


class Multiplied(nn.Module):
    """Two filters for each input channel."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.depth = nn.Conv2d(3, 5, 1), nn.Conv2d(5, 10, 3, padding=1, groups=5)
        self.head = nn.Linear(10, 4)

    def forward(self, x):
        return self.head(self.depth(F.relu(self.first(x))).mean((2, 3)))


class WholeGroups(nn.Module):
    """Four groups of two inputs and three outputs: enough of them for whole ones to go."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.grouped = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 12, 3, padding=1, groups=4)
        self.norm, self.head = nn.BatchNorm2d(12), nn.Linear(12, 4)

    def forward(self, x):
        return self.head(F.relu(self.norm(self.grouped(F.relu(self.first(x))))).mean((2, 3)))


class TransposedGroups(WholeGroups):
    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.ConvTranspose2d(8, 12, 2, groups=4)


class Narrowing(nn.Module):
    """Four groups of three inputs and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 12, 1), nn.Conv2d(3, 12, 3, padding=1)
        self.narrow, self.head, self.skip = nn.Conv2d(12, 8, 1, groups=4), nn.Linear(8, 4), nn.Linear(12, 4)

    def forward(self, x):
        x = F.relu(self.left(x) + self.right(x))
        return self.head(F.relu(self.narrow(x)).mean((2, 3))) + self.skip(x.mean((2, 3)))


class Flattened(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.hidden, self.head = nn.Linear(6 * 4, 7), nn.Linear(7, 4)

    def forward(self, x):
        x = F.adaptive_avg_pool2d(F.relu(self.norm(self.conv(x))), 2)
        return self.head(F.relu(self.hidden(x.flatten(1))))


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.squeeze, self.excite = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 1), nn.Conv2d(3, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.conv(x)
        x = x * torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        return self.head(x.mean((2, 3)))


@dataclass(frozen=True)
class Case:
    """A group: its network, its root, how many channels it has, and the parts of a channel, the root's first."""

    network: type[nn.Module]
    root: str
    width: int
    parts: Callable[[int], list[Part]]


def partly(c: int) -> list[Part]:
    half: Part = ("left", "out", c) if c < 3 else ("right", "out", c - 3)
    return [("whole", "out", c), ("norm", "norm", c), ("head", "in", (ALL, c)), half]


def of_eight(c: int) -> list[Part]:
    """Two inputs belong to the first two of three outputs."""
    return [("first", "out", c // 3 * 2 + c % 3)] if c % 3 < 2 else []


CASES = {
    "residual add": Case(Residual, "conv2", 6, lambda c: [
        ("conv2", "out", c), ("norm2", "norm", c), ("stem", "out", c), ("norm", "norm", c),
        ("conv1", "in", (ALL, c)), ("head", "in", (ALL, c)),
    ]),
    "inside a block": Case(Residual, "conv1", 5, lambda c: [
        ("conv1", "out", c), ("norm1", "norm", c), ("conv2", "in", (ALL, c)),
    ]),
    "second of a concatenation": Case(Concatenated, "right", 5, lambda c: [
        ("right", "out", c), ("joined", "in", (ALL, 4 + c)),
    ]),
    "added to a concatenation": Case(PartlyConcatenated, "whole", 7, partly),
    "depthwise": Case(Depthwise, "depth", 6, lambda c: [
        ("depth", "out", c), ("expand", "out", c), ("project", "in", (ALL, c)),
    ]),
    "into groups": Case(Grouped, "first", 20, lambda c: [
        ("first", "out", c), ("grouped", "in", (slice(c // 10 * 12, c // 10 * 12 + 12), c % 10)),
    ]),
    "out of groups, into transposed groups": Case(Grouped, "grouped", 24, lambda c: [
        ("grouped", "out", c), ("up", "in", c),
    ]),
    "out of transposed groups": Case(Grouped, "up", 20, lambda c: [
        ("up", "out", (slice(c // 10 * 12, c // 10 * 12 + 12), c % 10)), ("norm", "norm", c), ("head", "in", (ALL, c)),
    ]),
    "two filters per input": Case(Multiplied, "depth", 10, lambda c: [
        ("depth", "out", c), ("head", "in", (ALL, c)), *([("first", "out", c // 2)] if c % 2 == 0 else []),
    ]),
    "whole groups": Case(WholeGroups, "grouped", 12, lambda c: [
        ("grouped", "out", c), ("norm", "norm", c), ("head", "in", (ALL, c)), *of_eight(c),
    ]),
    "whole transposed groups": Case(TransposedGroups, "grouped", 12, lambda c: [
        ("grouped", "out", (slice(c // 3 * 2, c // 3 * 2 + 2), c % 3)), ("norm", "norm", c), ("head", "in", (ALL, c)),
        *of_eight(c),
    ]),
    "whole groups by their inputs": Case(Narrowing, "left", 12, lambda c: [
        ("left", "out", c), ("right", "out", c), ("skip", "in", (ALL, c)),
        ("narrow", "in", (slice(c // 3 * 2, c // 3 * 2 + 2), c % 3)),
        *([("head", "in", (ALL, c // 3 * 2 + c % 3))] if c % 3 < 2 else []),
    ]),
    "linear behind a flatten": Case(Flattened, "conv", 6, lambda c: [
        ("conv", "out", c), ("norm", "norm", c), ("hidden", "in", (ALL, slice(4 * c, 4 * c + 4))),
    ]),
    "linear": Case(Flattened, "hidden", 7, lambda c: [("hidden", "out", c), ("head", "in", (ALL, c))]),
    "squeeze and excite": Case(SqueezeExcite, "conv", 8, lambda c: [
        ("conv", "out", c), ("excite", "out", c), ("squeeze", "in", (ALL, c)), ("head", "in", (ALL, c)),
    ]),
}  # fmt: skip


def made(network: type[nn.Module]) -> nn.Module:
    """Random weights everywhere, the norms' too, with gradients of both kinds."""
    torch.manual_seed(0)
    built = network()
    for parameter in built.parameters():
        parameter.data.normal_()
        parameter.grad = torch.randn_like(parameter)
        parameter.squared_grad = torch.rand_like(parameter)
    return built


def groups_of(network: nn.Module, shape: tuple[int, ...] = (3, 6, 6)) -> dict[str, tp.Group]:
    paths = {module: path for path, module in network.named_modules()}
    graph = channel_graph(network, shape)
    return {paths[group[0].dep.target.module]: group for group in graph.get_all_groups()}


def arrays(network: nn.Module, path: str, index: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weight, its gradient and its squared gradient at ``index``, flat."""
    weight = network.get_submodule(path).weight
    return tuple(each.detach().double().numpy()[index].ravel() for each in (weight, weight.grad, weight.squared_grad))
