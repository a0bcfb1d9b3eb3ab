"""CIFAR ResNets of 6n+2 layers: He et al., "Deep Residual Learning for Image Recognition" (2016), section 4.2."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.models.registry import MODELS

Shortcut = Literal["conv", "pad"]


class PadShortcut(nn.Module):
    """Option A of the paper: every second pixel, new channels zero. It has no weights and cannot be pruned."""

    def __init__(self, channels: int):
        super().__init__()
        self.added = channels

    def forward(self, x: Tensor) -> Tensor:
        before = self.added // 2
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, before, self.added - before))


def conv_shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Return option B of the paper, a 1x1 projection."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: Shortcut):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Sequential()
        if stride != 1 or inputs != outputs:
            pad = shortcut == "pad"
            self.shortcut = PadShortcut(outputs - inputs) if pad else conv_shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class CifarResNet(nn.Module):
    """A ResNet of three groups of ``blocks`` basic blocks with ``width``, 2 and 4 times ``width`` channels.

    Input (N, C, H, W) with any H and W of at least 4; output (N, num_classes).
    """

    def __init__(self, blocks: int, in_channels: int, num_classes: int, width: int = 16, shortcut: Shortcut = "conv"):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = self._group(blocks, width, width, 1, shortcut)
        self.layer2 = self._group(blocks, width, 2 * width, 2, shortcut)
        self.layer3 = self._group(blocks, 2 * width, 4 * width, 2, shortcut)
        self.linear = nn.Linear(4 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @staticmethod
    def _group(blocks: int, inputs: int, outputs: int, stride: int, shortcut: Shortcut) -> nn.Sequential:
        first = Block(inputs, outputs, stride, shortcut)
        return nn.Sequential(first, *(Block(outputs, outputs, 1, shortcut) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))

    def adopt_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Complete the weights of a network with padded shortcuts for one with projections.

        A projection whose weight is a padded identity computes what option A computes, so published
        checkpoints of option A load into a network that can be pruned.
        """
        missing = {name: value for name, value in self.state_dict().items() if ".shortcut." in name}
        if not missing or any(".shortcut." in name for name in state):
            return state
        return {**state, **{name: _padded_identity(name, value) for name, value in missing.items()}}


def _padded_identity(name: str, like: Tensor) -> Tensor:
    if name.endswith("running_var"):
        return torch.full_like(like, 1 - nn.BatchNorm2d(1).eps)
    if name.endswith("1.weight"):
        return torch.ones_like(like)
    value = torch.zeros_like(like)
    if name.endswith("0.weight"):
        outputs, inputs = value.shape[:2]
        channel = torch.arange(inputs)
        value[channel + (outputs - inputs) // 2, channel, 0, 0] = 1
    return value


def _resnet(blocks: int) -> None:
    @MODELS.register(f"resnet{6 * blocks + 2}")
    def build(
        input_shape: tuple[int, ...], num_classes: int, width: int = 16, shortcut: Shortcut = "conv"
    ) -> nn.Module:
        return CifarResNet(blocks, input_shape[0], num_classes, width, shortcut)


for _blocks in (3, 5, 7, 9, 18):
    _resnet(_blocks)
