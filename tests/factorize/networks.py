"""Networks with one layer of each kind."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from edgekd.models.cifar_resnet import Block


class Residual(nn.Module):
    """One residual block behind a stem, with a projection."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.block = Block(16, 32, 2, "conv")
        self.linear = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.block(self.stem(x)).mean((2, 3)))


class Mobile(nn.Module):
    """An inverted residual block of MobileNetV2, with its activations."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.block = self._block(16, 48)
        self.linear = nn.Linear(16, classes)

    @staticmethod
    def _block(width: int, inner: int) -> nn.Sequential:
        return nn.Sequential(
            *(nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()),
            *(nn.Conv2d(inner, inner, 3, 1, 1, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()),
            *(nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width)),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.block(x)
        return self.linear(x.mean((2, 3)))


class Everything(nn.Module):
    """Layers that can be factorised, and one of each kind that cannot be."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Conv2d(3, 16, 3, padding=1)
        self.normed = weight_norm(nn.Conv2d(16, 16, 3, padding=1))
        self.grouped = nn.Conv2d(16, 16, 3, padding=1, groups=4)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.transposed = nn.ConvTranspose2d(16, 16, 2, 2)
        self.one, self.other = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1)
        self.other.weight = self.one.weight
        self.read = nn.Linear(16, 16)
        self.watched = nn.Linear(16, 16)
        self.watched.register_forward_hook(lambda *_: None)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.unused = nn.Linear(16, 16)
        self.last = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.transposed(self.depthwise(self.grouped(self.normed(torch.relu(self.plain(x))))))
        x = self.other(self.one(x)).flatten(2).transpose(1, 2)
        x = self.encoder(self.watched(x @ self.read.weight.T))
        return self.last(x.mean(1))


class Sequence(nn.Module):
    """Convolutions of one dimension, one of them under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(8, 24, 5, 2, 2)
        self.blocks = nn.ModuleList([nn.Conv1d(24, 24, 5, padding=2)])
        self.block = self.blocks[0]
        self.last = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        return self.last(self.block(self.block(x)).mean(2))
