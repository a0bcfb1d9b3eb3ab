"""Small networks for small devices and for tests."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.models.cifar_resnet import Block
from edgekd.models.registry import MODELS


class ResNet8(nn.Module):
    """The image-classification network of MLPerf Tiny (Banbury et al., 2021): one block per group.

    The reference puts biases on its convolutions; BatchNorm follows each one, so they are left out here.
    """

    def __init__(self, in_channels: int, num_classes: int, width: int = 16):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = Block(width, width, 1, "conv")
        self.layer2 = Block(width, 2 * width, 2, "conv")
        self.layer3 = Block(2 * width, 4 * width, 2, "conv")
        self.linear = nn.Linear(4 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


@MODELS.register("resnet8")
def resnet8(input_shape: tuple[int, ...], num_classes: int, width: int = 16) -> nn.Module:
    return ResNet8(input_shape[0], num_classes, width)


@MODELS.register("small_cnn")
def small_cnn(input_shape: tuple[int, ...], num_classes: int, width: int = 16) -> nn.Module:
    """Build three convolutions of ``width``, 2 and 4 times ``width`` channels, each halving the image."""
    layers: list[nn.Module] = []
    channels = input_shape[0]
    for outputs in (width, 2 * width, 4 * width):
        layers += [
            nn.Conv2d(channels, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))


@MODELS.register("mlp")
def mlp(input_shape: tuple[int, ...], num_classes: int, hidden: Sequence[int] = (64, 64)) -> nn.Module:
    """Build a fully connected network over the flattened input."""
    layers: list[nn.Module] = [nn.Flatten()]
    features = 1
    for size in input_shape:
        features *= size
    for outputs in hidden:
        layers += [nn.Linear(features, outputs), nn.ReLU()]
        features = outputs
    return nn.Sequential(*layers, nn.Linear(features, num_classes))
