"""Detectors as people deploy them, small and with raw heads as outputs: YOLO-like ones and their relatives.

Each function builds a network for ``path.py:function`` of a recipe. Maps are named by stride, as edgekd's own are.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from dense_blocks import (
    C3,
    AttentionHalf,
    Block,
    Bottleneck,
    C2f,
    Conv,
    Elan,
    Focus,
    GatedCsp,
    Gelan,
    Ghost,
    InvertedBlock,
    PooledDown,
    RepConv,
    ShuffleUnit,
    SlicedCsp,
    Spp,
    Sppf,
    TwoWayDown,
    c3k2,
    depthwise,
    separable,
)
from torch import Tensor, nn

Shape = tuple[int, ...]
Maps = dict[str, Tensor]
# Of (widths of the levels, classes).
Heads = Callable[[Sequence[int], int], nn.Module]
WIDTHS, STRIDES, BINS, ANCHORS = (32, 64, 128, 192, 256), (8, 16, 32), 16, 3


def strided(inputs: int, outputs: int) -> nn.Module:
    return Conv(inputs, outputs, 3, 2)


class Decoupled(nn.Module):
    """Two convolutions for classes and two for boxes on each level, as YOLOX, YOLOv8 and later ones have them."""

    def __init__(self, widths: Sequence[int], classes: int, conv: Block | None = None, sides: int = 4):
        super().__init__()
        make = conv or (lambda inputs, outputs: Conv(inputs, outputs, 3))

        def branch(width: int, outputs: int) -> nn.Module:
            return nn.Sequential(make(width, 64), make(64, 64), nn.Conv2d(64, outputs, 1))

        self.cls = nn.ModuleList(branch(width, classes) for width in widths)
        self.box = nn.ModuleList(branch(width, sides) for width in widths)

    def forward(self, levels: Sequence[Tensor]) -> Maps:
        found = {}
        for stride, level, cls, box in zip(STRIDES, levels, self.cls, self.box, strict=True):
            found[f"cls.{stride}"], found[f"box.{stride}"] = cls(level), self.sides(box(level))
        return found

    def sides(self, box: Tensor) -> Tensor:
        return box


class Distributed(Decoupled):
    """With a distribution for each side, whose mean is the distance (Li et al. 2020)."""

    bins: Tensor

    def __init__(self, widths: Sequence[int], classes: int):
        super().__init__(widths, classes, sides=4 * BINS)
        self.register_buffer("bins", torch.arange(BINS, dtype=torch.float32), persistent=False)

    def sides(self, box: Tensor) -> Tensor:
        n, _, height, width = box.shape
        shares = box.view(n, 4, BINS, height, width).softmax(2)
        return (shares * self.bins.view(1, 1, -1, 1, 1)).sum(2)


class Anchored(nn.Module):
    """One convolution on each level, for all anchors of a place: YOLOv3 to YOLOv7."""

    def __init__(self, widths: Sequence[int], classes: int):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width, ANCHORS * (5 + classes), 1) for width in widths)

    def forward(self, levels: Sequence[Tensor]) -> Maps:
        found = {}
        for stride, level, conv in zip(STRIDES, levels, self.convs, strict=False):
            n, _, height, width = level.shape
            found[f"anchors_{stride}"] = conv(level).view(n, ANCHORS, -1, height, width).permute(0, 1, 3, 4, 2)
        return found


class Shared(nn.Module):
    """The same convolutions on all levels, each level with norms of its own: RTMDet and EfficientDet."""

    def __init__(self, widths: Sequence[int], classes: int, across: int = 96):
        super().__init__()
        self.enter = nn.ModuleList(Conv(width, across) for width in widths)
        self.conv = nn.Conv2d(across, across, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(across) for _ in widths)
        self.cls, self.box = nn.Conv2d(across, classes, 1), nn.Conv2d(across, 4, 1)

    def forward(self, levels: Sequence[Tensor]) -> Maps:
        found = {}
        for stride, level, enter, norm in zip(STRIDES, levels, self.enter, self.norms, strict=True):
            x = F.silu(norm(self.conv(enter(level))))
            found[f"cls.{stride}"], found[f"box.{stride}"] = self.cls(x), self.box(x)
        return found


class Detector(nn.Module):
    """A trunk of five stages, a path down and one up that meet by concatenation, and heads on three levels."""

    def __init__(
        self,
        shape: Shape,
        classes: int,
        block: Block,
        heads: Heads = Decoupled,
        stem: Block = strided,
        down: Block = strided,
        last: Callable[[int], nn.Module] = Sppf,
    ):
        super().__init__()
        first, second, *levels = WIDTHS
        p3, p4, p5 = levels
        self.early = nn.Sequential(stem(shape[0], first), down(first, second), block(second, second))
        self.stages = nn.ModuleList(
            nn.Sequential(down(before, after), block(after, after))
            for before, after in ((second, p3), (p3, p4), (p4, p5))
        )
        self.last = last(p5)
        self.to4, self.to3 = block(p5 + p4, p4), block(p4 + p3, p3)
        self.from3, self.from4 = down(p3, p3), down(p4, p4)
        self.back4, self.back5 = block(p3 + p4, p4), block(p4 + p5, p5)
        self.heads = heads(levels, classes)

    def forward(self, x: Tensor) -> Maps:
        x, levels = self.early(x), []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        c3, c4, c5 = levels[0], levels[1], self.last(levels[2])
        n4 = self.to4(torch.cat((upsampled(c5), c4), 1))
        n3 = self.to3(torch.cat((upsampled(n4), c3), 1))
        n4 = self.back4(torch.cat((self.from3(n3), n4), 1))
        n5 = self.back5(torch.cat((self.from4(n4), c5), 1))
        found: Maps = self.heads([n3, n4, n5])
        return found


def upsampled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def c2f(input_shape: Shape, num_classes: int) -> nn.Module:
    """YOLOv8."""
    return Detector(input_shape, num_classes, C2f)


def c2f_distributed(input_shape: Shape, num_classes: int) -> nn.Module:
    """YOLOv8 with the decoding of distances in the network."""
    return Detector(input_shape, num_classes, C2f, Distributed)


def c3k2_attention(input_shape: Shape, num_classes: int) -> nn.Module:
    """YOLO11: C3k2, attention behind half of the channels, depthwise heads."""

    def last(channels: int) -> nn.Module:
        return nn.Sequential(Sppf(channels), AttentionHalf(channels))

    return Detector(input_shape, num_classes, c3k2, partial(Decoupled, conv=separable), last=last)


def c3_anchors(input_shape: Shape, num_classes: int) -> nn.Module:
    """YOLOv5."""
    return Detector(input_shape, num_classes, C3, Anchored)


def csp_mish(input_shape: Shape, num_classes: int) -> nn.Module:
    """YOLOv4: slices, Mish, pools of three sizes."""

    def last(channels: int) -> nn.Module:
        return Spp(channels, nn.Mish)

    def down(inputs: int, outputs: int) -> nn.Module:
        return Conv(inputs, outputs, 3, 2, act=nn.Mish)

    return Detector(input_shape, num_classes, SlicedCsp, Anchored, down, down, last)


def elan(input_shape: Shape, num_classes: int) -> nn.Module:
    """YOLOv7."""
    return Detector(input_shape, num_classes, Elan, Anchored, down=TwoWayDown, last=Spp)


def gelan(input_shape: Shape, num_classes: int) -> nn.Module:
    """YOLOv9, whose maps are halved by a chunk behind a pool."""
    return Detector(input_shape, num_classes, Gelan, Distributed, down=PooledDown, stem=strided)


def inverted(input_shape: Shape, num_classes: int) -> nn.Module:
    """YOLOv10: compact blocks, depthwise halving, attention."""

    def block(inputs: int, outputs: int) -> nn.Module:
        return C2f(inputs, outputs, 1, InvertedBlock)

    def down(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(Conv(inputs, outputs), depthwise(outputs, 3, 2, nn.Identity))

    return Detector(input_shape, num_classes, block, stem=strided, down=down, last=AttentionHalf)


def focus(input_shape: Shape, num_classes: int) -> nn.Module:
    """YOLOX: its first layer takes pixels apart."""
    return Detector(input_shape, num_classes, C3, Decoupled, Focus, last=Spp)


def gated(input_shape: Shape, num_classes: int) -> nn.Module:
    """RTMDet: large depthwise kernels, gates, heads that all levels share."""

    def block(inputs: int, outputs: int) -> nn.Module:
        return GatedCsp(inputs, outputs, lambda half: nn.Sequential(Conv(half, half, 3), separable(half, half, 5)))

    return Detector(input_shape, num_classes, block, Shared)


def reparametrised(input_shape: Shape, num_classes: int) -> nn.Module:
    """PP-YOLOE and YOLOv6, with both branches of each convolution."""

    def block(inputs: int, outputs: int) -> nn.Module:
        return GatedCsp(inputs, outputs, lambda half: nn.Sequential(RepConv(half, half), RepConv(half, half)))

    return Detector(input_shape, num_classes, block, stem=strided)


def shuffled(input_shape: Shape, num_classes: int) -> nn.Module:
    """NanoDet: ShuffleNet's blocks and ghost convolutions."""

    def block(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(Ghost(inputs, outputs), ShuffleUnit(outputs))

    return Detector(input_shape, num_classes, block, partial(Decoupled, conv=separable), last=lambda _: nn.Identity())


def darknet(input_shape: Shape, num_classes: int) -> nn.Module:
    """YOLOv3: residual blocks, leaky activations."""

    def block(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(Conv(inputs, outputs, act=nn.LeakyReLU), Bottleneck(outputs, 1, 3, act=nn.LeakyReLU))

    return Detector(input_shape, num_classes, block, Anchored, last=Spp)


class Tiny(nn.Module):
    """YOLOv3-tiny: convolutions and pools, two levels, one concatenation."""

    def __init__(self, shape: Shape, classes: int):
        super().__init__()
        act, first = nn.LeakyReLU, [shape[0], 32, 64, 96, 128]
        layers = [
            layer for before, after in pairwise(first) for layer in (Conv(before, after, 3, act=act), nn.MaxPool2d(2))
        ]
        self.early = nn.Sequential(*layers[:-1])
        self.late = nn.Sequential(
            *(nn.MaxPool2d(2), Conv(128, 192, 3, act=act)),
            *(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, 1), Conv(192, 256, 3, act=act), Conv(256, 96, act=act)),
        )
        self.up, self.coarse, self.fine = (
            *(Conv(96, 64, act=act), Conv(96, 192, 3, act=act)),
            Conv(64 + 128, 128, 3, act=act),
        )
        self.heads = Anchored((128, 192), classes)

    def forward(self, x: Tensor) -> Maps:
        fine = self.early(x)
        coarse = self.late(fine)
        joined = torch.cat((upsampled(self.up(coarse)), fine), 1)
        found: Maps = self.heads([self.fine(joined), self.coarse(coarse)])
        return found


def tiny(input_shape: Shape, num_classes: int) -> nn.Module:
    return Tiny(input_shape, num_classes)


class Fusion(nn.Module):
    """A mean of maps whose weights are learned (Tan et al. 2020, BiFPN), and a separable convolution."""

    def __init__(self, channels: int, count: int):
        super().__init__()
        self.weights = nn.Parameter(torch.ones(count))
        self.conv = separable(channels, channels)

    def forward(self, *maps: Tensor) -> Tensor:
        weights = self.weights.relu()
        weights = weights / (weights.sum() + 1e-4)
        mixed = sum(weights[index] * each for index, each in enumerate(maps))
        found: Tensor = self.conv(mixed)
        return found


class Weighted(nn.Module):
    """EfficientDet: inverted blocks, two BiFPN layers, shared heads."""

    def __init__(self, shape: Shape, classes: int, across: int = 96):
        super().__init__()
        widths = (32, 48, 96, 128, 192)
        self.stem = Conv(shape[0], widths[0], 3, 2)
        self.stages = nn.ModuleList(
            nn.Sequential(Conv(before, 4 * before), depthwise(4 * before, 3, 2), Conv(4 * before, after))
            for before, after in pairwise(widths)
        )
        self.lateral = nn.ModuleList(Conv(width, across, act=nn.Identity) for width in widths[2:])
        self.fusions = nn.ModuleList(nn.ModuleList(Fusion(across, count) for count in (2, 2, 3, 2)) for _ in range(2))
        self.heads = Shared([across] * 3, classes, across)

    def forward(self, x: Tensor) -> Maps:
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        p3, p4, p5 = (lateral(each) for lateral, each in zip(self.lateral, maps[1:], strict=True))
        for fusions in self.fusions:
            down4, down3, up4, up5 = fusions.children()
            middle = down4(p4, upsampled(p5))
            p3 = down3(p3, upsampled(middle))
            p4 = up4(p4, middle, F.max_pool2d(p3, 2))
            p5 = up5(p5, F.max_pool2d(p4, 2))
        found: Maps = self.heads([p3, p4, p5])
        return found


def weighted(input_shape: Shape, num_classes: int) -> nn.Module:
    return Weighted(input_shape, num_classes)
