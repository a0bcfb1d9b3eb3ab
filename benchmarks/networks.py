"""torchvision's networks without weights, to be named as ``benchmarks/networks.py:function``."""

from torch import nn
from torchvision import models

# MobileNetV2's own blocks (expansion, channels, repeats, stride), with two strides less for small pictures.
CIFAR_BLOCKS = [
    *([1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2]),
    *([6, 96, 3, 1], [6, 160, 3, 1], [6, 320, 1, 1]),
]


def resnet18() -> nn.Module:
    return models.resnet18(weights=None)


def resnet50() -> nn.Module:
    return models.resnet50(weights=None)


def mobilenet_v2() -> nn.Module:
    return models.mobilenet_v2(weights=None)


def mobilenet_v2_cifar(num_classes: int = 10, width: float = 0.5) -> nn.Module:
    """For pictures of 32x32, which it brings down to 4x4 before the pooling: 14 million MACs at half the width."""
    network = models.MobileNetV2(num_classes, width_mult=width, inverted_residual_setting=CIFAR_BLOCKS)
    network.features[0][0].stride = (1, 1)
    return network


def resnet18_cifar() -> nn.Module:
    """torchvision's with the stem that pictures of 32x32 take: no stride, no pooling."""
    network = models.resnet18(weights=None, num_classes=10)
    network.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    network.maxpool = nn.Identity()
    return network
