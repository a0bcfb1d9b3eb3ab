"""A detector without anchors: a small backbone, a feature pyramid, and heads for classes and boxes on each level.

Outputs are maps by stride, ``cls.8`` and ``box.8``, or with ``bins`` ``bins.8``, see
:mod:`edgekd.tasks.detection.outputs`. The pyramid is that of Lin et al. (2017); ``neck="pan"`` adds the way back up of
Liu et al. (2018). Everything meets by addition, so that no concatenation shares a scale; ``block="c2f"`` has the
cross-stage blocks of YOLOv8, which concatenate.
"""

import math
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.models.registry import MODELS

BlockKind = Literal["residual", "c2f"]
NeckKind = Literal["fpn", "pan"]
# The share of positions that hold an object, as heads first guess it (Lin et al. 2018, section 4.1), and the distance
# of boxes' sides in strides.
PRIOR, DISTANCE = 0.01, 1.5


class ConvNorm(nn.Sequential):
    """A convolution, BatchNorm and ReLU."""

    def __init__(self, channels: int, out: int, kernel: int = 3, stride: int = 1):
        super().__init__(
            nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out), nn.ReLU()
        )


class Residual(nn.Module):
    """Two convolutions, whose result is added to what came in."""

    def __init__(self, channels: int):
        super().__init__()
        self.first, self.second = ConvNorm(channels, channels), ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.second(self.first(x))
        return found


class C2f(nn.Module):
    """A cross-stage block: a convolution's two halves, and what ``depth`` residual blocks make of one, side by side."""

    def __init__(self, channels: int, depth: int):
        super().__init__()
        half = channels // 2
        self.enter = ConvNorm(channels, 2 * half, kernel=1)
        self.blocks = nn.ModuleList(Residual(half) for _ in range(depth))
        self.leave = ConvNorm((2 + depth) * half, channels, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.enter(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        found: Tensor = self.leave(torch.cat(parts, 1))
        return found


class Head(nn.Module):
    """The heads of one level: a convolution each, then classes and distances, or distributions of these over bins."""

    def __init__(self, channels: int, num_classes: int, bins: int | None = None):
        super().__init__()
        self.cls = nn.Sequential(ConvNorm(channels, channels), nn.Conv2d(channels, num_classes, 1))
        self.box = nn.Sequential(ConvNorm(channels, channels), nn.Conv2d(channels, 4 * (bins or 1), 1))
        nn.init.constant_(self.cls[1].bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]
        nn.init.constant_(self.box[1].bias, DISTANCE)  # type: ignore[arg-type]
        if bins is not None:
            # Of all distributions with that mean over the distances 0, 1, 2, ... the one that is the least certain.
            slope = math.log(DISTANCE / (1 + DISTANCE))
            self.box[1].load_state_dict({"bias": slope * torch.arange(bins).float().repeat(4)}, strict=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls(x), self.box(x)


class PyramidDetector(nn.Module):
    """See the module.

    Args:
        width: channels of the stem; stages have 2, 4, 8 and 8 times as many, the pyramid twice.
        depth: blocks of each stage.
        strides: of the levels, each a power of 2 from 4 to 32, without gaps.
        bins: 2 or more, over which each side of a box is distributed; it lies at most ``bins`` − 1 strides from its
            cell. None for a distance alone.

    Raises:
        ModelError: levels, bins or the input's size do not fit.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        size: tuple[int, int],
        *,
        width: int = 16,
        depth: int = 1,
        neck: NeckKind = "fpn",
        block: BlockKind = "residual",
        strides: tuple[int, ...] = (8, 16),
        bins: int | None = None,
    ):
        super().__init__()
        _must_fit(size, strides, neck, block, bins)
        self.sides = "box" if bins is None else "bins"
        self.strides, stages = tuple(strides), int(math.log2(strides[-1]))
        self.stem = ConvNorm(in_channels, width, stride=2)
        widths = [width, *(min(2**each, 8) * width for each in range(1, stages))]
        self.stages = nn.ModuleList(
            nn.Sequential(ConvNorm(before, after, stride=2), *_blocks(block, after, depth))
            for before, after in pairwise(widths)
        )
        across = 2 * width
        levels = widths[-len(strides) :]
        self.lateral = nn.ModuleList(nn.Conv2d(channels, across, 1) for channels in levels)
        self.smooth = nn.ModuleList(ConvNorm(across, across) for _ in levels)
        steps = len(levels) - 1 if neck == "pan" else 0
        self.down = nn.ModuleList(ConvNorm(across, across, stride=2) for _ in range(steps))
        self.heads = nn.ModuleList(Head(across, num_classes, bins) for _ in levels)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        levels = [lateral(each) for lateral, each in zip(self.lateral, maps[-len(self.strides) :], strict=True)]
        for place in reversed(range(len(levels) - 1)):
            levels[place] = levels[place] + F.interpolate(levels[place + 1], scale_factor=2.0, mode="nearest")
        levels = [smooth(each) for smooth, each in zip(self.smooth, levels, strict=True)]
        for place, down in enumerate(self.down):
            levels[place + 1] = levels[place + 1] + down(levels[place])
        found = {}
        for stride, head, level in zip(self.strides, self.heads, levels, strict=True):
            found[f"cls.{stride}"], found[f"{self.sides}.{stride}"] = head(level)
        return found


def _blocks(kind: BlockKind, channels: int, depth: int) -> list[nn.Module]:
    return [C2f(channels, depth)] if kind == "c2f" else [Residual(channels) for _ in range(depth)]


def _must_fit(size: tuple[int, int], strides: tuple[int, ...], neck: str, block: str, bins: int | None) -> None:
    known = [4, 8, 16, 32]
    first = known.index(strides[0]) if strides and strides[0] in known else None
    if first is None or list(strides) != known[first : first + len(strides)]:
        raise ModelError(f"strides of a detector's levels are {list(strides)}; give some of {known} without a gap")
    if any(side % strides[-1] for side in size):
        raise ModelError(
            f"a detector with levels down to stride {strides[-1]} takes images of multiples of that, and these are "
            f"{size[1]}x{size[0]}: set data.image_size, or leave out the coarsest of strides {list(strides)}"
        )
    for name, value, values in (("neck", neck, ("fpn", "pan")), ("block", block, ("residual", "c2f"))):
        if value not in values:
            raise ModelError(f"{name} of a detector is {value!r}; it is {' or '.join(values)}")
    if bins is not None and not (type(bins) is int and bins > 1):
        raise ModelError(f"bins of a detector is {bins!r}; give 2 or more, or leave it out for distances alone")


@MODELS.register("pyramid_detector")
def pyramid_detector(
    input_shape: tuple[int, ...], num_classes: int, width: int = 16, depth: int = 1, neck: NeckKind = "fpn",
    block: BlockKind = "residual", strides: tuple[int, ...] = (8, 16), bins: int | None = None,
) -> nn.Module:  # fmt: skip
    if len(input_shape) != 3:
        raise ModelError(f"pyramid_detector takes images (channels, height, width), and the data gives {input_shape}")
    channels, *size = input_shape
    return PyramidDetector(
        channels, num_classes, (size[0], size[1]), width=width, depth=depth, neck=neck, block=block,
        strides=tuple(strides), bins=bins,
    )  # fmt: skip
