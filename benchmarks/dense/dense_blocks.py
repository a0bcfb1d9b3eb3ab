"""Blocks of networks for boxes, masks and points, written anew from the papers that describe them."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Callable[[], nn.Module]
# Of (inputs, outputs): the blocks that a stage or a neck is made of.
Block = Callable[[int, int], nn.Module]


class Conv(nn.Sequential):
    """A convolution, BatchNorm and an activation."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: Activation = nn.SiLU
    ):
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs), act())


def depthwise(channels: int, kernel: int = 3, stride: int = 1, act: Activation = nn.SiLU) -> Conv:
    return Conv(channels, channels, kernel, stride, channels, act)


def separable(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, act: Activation = nn.SiLU) -> nn.Module:
    return nn.Sequential(depthwise(inputs, kernel, stride, act), Conv(inputs, outputs, act=act))


class Bottleneck(nn.Module):
    """Two convolutions, added to what came in."""

    def __init__(
        self, channels: int, first: int = 3, second: int = 3, shortcut: bool = True, act: Activation = nn.SiLU
    ):
        super().__init__()
        self.one, self.two = Conv(channels, channels, first, act=act), Conv(channels, channels, second, act=act)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.two(self.one(x))
        return x + found if self.shortcut else found


class C2f(nn.Module):
    """YOLOv8: a convolution's halves and every block's result, side by side; of YOLO11 with blocks of C3 inside."""

    def __init__(self, inputs: int, outputs: int, depth: int = 1, inner: Callable[[int], nn.Module] = Bottleneck):
        super().__init__()
        half = outputs // 2
        self.enter, self.leave = Conv(inputs, 2 * half), Conv((2 + depth) * half, outputs)
        self.blocks = nn.ModuleList(inner(half) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.enter(x).chunk(2, 1))
        parts.extend(block(parts[-1]) for block in self.blocks)
        found: Tensor = self.leave(torch.cat(parts, 1))
        return found


class C3(nn.Module):
    """YOLOv5: two convolutions, blocks behind one of them, and both side by side (Wang et al. 2019, CSPNet)."""

    def __init__(self, inputs: int, outputs: int, depth: int = 1, inner: Callable[[int], nn.Module] | None = None):
        super().__init__()
        half, make = outputs // 2, inner or (lambda channels: Bottleneck(channels, 1, 3))
        self.one, self.two, self.leave = Conv(inputs, half), Conv(inputs, half), Conv(2 * half, outputs)
        self.blocks = nn.Sequential(*(make(half) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.leave(torch.cat((self.blocks(self.one(x)), self.two(x)), 1))
        return found


def c3k2(inputs: int, outputs: int) -> nn.Module:
    return C2f(inputs, outputs, 1, lambda half: C3(half, half, 2, Bottleneck))


class SlicedCsp(nn.Module):
    """A cross-stage block whose halves are slices, as the first CSP networks have them."""

    def __init__(self, inputs: int, outputs: int, act: Activation = nn.Mish):
        super().__init__()
        self.width = outputs // 2
        self.enter, self.leave = Conv(inputs, outputs, act=act), Conv(outputs, outputs, act=act)
        self.block = Bottleneck(self.width, 1, 3, act=act)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        kept, changed = x[:, : self.width], x[:, self.width :]
        found: Tensor = self.leave(torch.cat((kept, self.block(changed)), 1))
        return found


class Elan(nn.Module):
    """YOLOv7: four convolutions in a row, of which every second one is kept (Wang et al. 2022)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        half = outputs // 2
        self.one, self.two = Conv(inputs, half), Conv(inputs, half)
        self.steps = nn.ModuleList(nn.Sequential(Conv(half, half, 3), Conv(half, half, 3)) for _ in range(2))
        self.leave = Conv(4 * half, outputs)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.one(x), self.two(x)]
        parts.extend(step(parts[-1]) for step in self.steps)
        found: Tensor = self.leave(torch.cat(parts, 1))
        return found


class RepConv(nn.Module):
    """A convolution of 3x3 and one of 1x1, added, as they are in training (Ding et al. 2021, RepVGG)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.wide, self.narrow = Conv(inputs, outputs, 3, act=nn.Identity), Conv(inputs, outputs, act=nn.Identity)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.wide(x) + self.narrow(x))


class Gelan(nn.Module):
    """YOLOv9: a convolution's halves, and two blocks with a convolution each behind one half, side by side."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        half = outputs // 2
        self.enter = Conv(inputs, 2 * half)
        self.steps = nn.ModuleList(
            nn.Sequential(C3(half, half, 1, lambda c: nn.Sequential(RepConv(c, c), Conv(c, c, 3))), Conv(half, half, 3))
            for _ in range(2)
        )
        self.leave = Conv(4 * half, outputs)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.enter(x).chunk(2, 1))
        parts.extend(step(parts[-1]) for step in self.steps)
        found: Tensor = self.leave(torch.cat(parts, 1))
        return found


class PooledDown(nn.Module):
    """YOLOv9's halving of a map: one half of the channels by a convolution, the other by a maximum."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.one, self.two = Conv(inputs // 2, outputs // 2, 3, 2), Conv(inputs // 2, outputs // 2)

    def forward(self, x: Tensor) -> Tensor:
        first, second = F.avg_pool2d(x, 2, 1, 0, False, True).chunk(2, 1)
        return torch.cat((self.one(first), self.two(F.max_pool2d(second, 3, 2, 1))), 1)


class TwoWayDown(nn.Module):
    """YOLOv7's halving of a map: by a maximum and by a convolution, side by side."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.pooled = Conv(inputs, outputs // 2)
        self.strided = nn.Sequential(Conv(inputs, outputs // 2), Conv(outputs // 2, outputs // 2, 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.pooled(F.max_pool2d(x, 2)), self.strided(x)), 1)


class InvertedBlock(nn.Module):
    """YOLOv10's compact block: depthwise and pointwise convolutions in turn, added to what came in."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            *(depthwise(channels), Conv(channels, 2 * channels)),
            *(depthwise(2 * channels), Conv(2 * channels, channels), depthwise(channels)),
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.body(x)
        return found


class SpatialAttention(nn.Module):
    """Attention over the positions of a map, with a depthwise convolution for where they are."""

    def __init__(self, channels: int, heads: int = 2):
        super().__init__()
        self.heads, self.width = heads, channels // heads
        self.key = self.width // 2
        self.qkv = Conv(channels, channels + 2 * self.key * heads, act=nn.Identity)
        self.place, self.leave = depthwise(channels, act=nn.Identity), Conv(channels, channels, act=nn.Identity)

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        parts = self.qkv(x).view(n, self.heads, 2 * self.key + self.width, height * width)
        query, key, value = parts.split((self.key, self.key, self.width), 2)
        near = (query.transpose(-2, -1) @ key * self.key**-0.5).softmax(-1)
        found = (value @ near.transpose(-2, -1)).view(n, channels, height, width)
        found = found + self.place(value.reshape(n, channels, height, width))
        left: Tensor = self.leave(found)
        return left


class AttentionHalf(nn.Module):
    """YOLOv10 and YOLO11: attention and a small network behind one half of the channels."""

    def __init__(self, channels: int):
        super().__init__()
        half = channels // 2
        self.width, self.enter, self.leave = half, Conv(channels, channels), Conv(channels, channels)
        self.attention = SpatialAttention(half)
        self.network = nn.Sequential(Conv(half, 2 * half), Conv(2 * half, half, act=nn.Identity))

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.enter(x).split((self.width, self.width), 1)
        second = second + self.attention(second)
        second = second + self.network(second)
        found: Tensor = self.leave(torch.cat((first, second), 1))
        return found


class Sppf(nn.Module):
    """Spatial pyramid pooling, one pool behind the other."""

    def __init__(self, channels: int, kernel: int = 5):
        super().__init__()
        half = channels // 2
        self.enter, self.leave = Conv(channels, half), Conv(4 * half, channels)
        self.pool = nn.MaxPool2d(kernel, 1, kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        found: Tensor = self.leave(torch.cat(parts, 1))
        return found


class Spp(nn.Module):
    """Spatial pyramid pooling, pools of several sizes side by side (He et al. 2014)."""

    def __init__(self, channels: int, act: Activation = nn.SiLU):
        super().__init__()
        half = channels // 2
        self.enter, self.leave = Conv(channels, half, act=act), Conv(4 * half, channels, act=act)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        pools = (F.max_pool2d(x, size, 1, size // 2) for size in (5, 9, 13))
        found: Tensor = self.leave(torch.cat((x, *pools), 1))
        return found


class Focus(nn.Module):
    """YOLOv5 and YOLOX: every second row and column as channels of its own."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = Conv(4 * inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        parts = (x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2])
        found: Tensor = self.conv(torch.cat(parts, 1))
        return found


class Gate(nn.Module):
    """Each channel times a number in [0, 1] that is computed from the means of all."""

    def __init__(self, channels: int, act: Activation = nn.Hardsigmoid):
        super().__init__()
        self.conv, self.act = nn.Conv2d(channels, channels, 1), act()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x * self.act(self.conv(x.mean((2, 3), keepdim=True)))
        return found


class GatedCsp(nn.Module):
    """RTMDet and PP-YOLOE: a cross-stage block with a gate behind the concatenation."""

    def __init__(self, inputs: int, outputs: int, inner: Callable[[int], nn.Module]):
        super().__init__()
        half = outputs // 2
        self.one, self.two, self.leave = Conv(inputs, half), Conv(inputs, half), Conv(2 * half, outputs)
        self.blocks, self.gate = inner(half), Gate(2 * half)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.leave(self.gate(torch.cat((self.blocks(self.one(x)), self.two(x)), 1)))
        return found


class ShuffleUnit(nn.Module):
    """ShuffleNetV2's block: half of the channels pass, and all are shuffled (Ma et al. 2018)."""

    def __init__(self, channels: int):
        super().__init__()
        half, act = channels // 2, nn.LeakyReLU
        self.branch = nn.Sequential(
            Conv(half, half, act=act), depthwise(half, act=nn.Identity), Conv(half, half, act=act)
        )

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, 1)
        return F.channel_shuffle(torch.cat((first, self.branch(second)), 1), 2)


class Ghost(nn.Module):
    """A convolution's channels, and as many by a cheap depthwise one (Han et al. 2020)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first, self.cheap = Conv(inputs, outputs // 2), depthwise(outputs // 2, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return torch.cat((x, self.cheap(x)), 1)
