"""torchvision's networks without weights, to be named as ``benchmarks/networks.py:function``."""

from torch import nn
from torchvision import models


def resnet18() -> nn.Module:
    return models.resnet18(weights=None)


def resnet50() -> nn.Module:
    return models.resnet50(weights=None)


def mobilenet_v2() -> nn.Module:
    return models.mobilenet_v2(weights=None)
