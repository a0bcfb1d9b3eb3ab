"""Networks that the sessions of these tests are pointed at as ``path.py:function``."""

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(128, 5))
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.up(self.act(self.conv(x)) + x)))


def residual() -> nn.Module:
    return Residual()


def linear(width: int = 8) -> nn.Module:
    return nn.Linear(8, width).train()


def no_network() -> str:
    return "weights"


class Breaks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("no such\nthing")


def breaks() -> nn.Module:
    return Breaks()


def doubles() -> nn.Module:
    return nn.Linear(8, 2).to(torch.float64)


def allows_tf32() -> nn.Module:
    torch.backends.fp32_precision = "tf32"
    return linear()
