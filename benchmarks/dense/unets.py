"""Networks that give a class for each pixel, small: U-Nets with every way back up, and others that keep detail.

Each function builds a network for ``path.py:function`` of a recipe; it gives logits of the image's size.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from dense_blocks import Block, Conv, Gate, depthwise, separable
from torch import Tensor, nn

Shape = tuple[int, ...]
# Of (channels below, channels of the level): from the coarser level's map to one of the level's size and channels.
Up = Callable[[int, int], nn.Module]
WIDTHS = (32, 64, 128, 256)

relu = partial(Conv, act=nn.ReLU)


def pair(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(relu(inputs, outputs, 3), relu(outputs, outputs, 3))


def bilinear(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), relu(inputs, outputs))


def transposing(inputs: int, outputs: int) -> nn.Module:
    return nn.ConvTranspose2d(inputs, outputs, 2, 2)


def shuffling(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, 4 * outputs, 1), nn.PixelShuffle(2))


class UNet(nn.Module):
    """Ronneberger, Fischer and Brox (2015), with blocks, ways up and joins of any kind."""

    def __init__(self, shape: Shape, classes: int, block: Block = pair, up: Up = transposing, gated: bool = False):
        super().__init__()
        levels = list(zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True))
        self.down = nn.ModuleList(
            block(before, after) for before, after in zip((shape[0], *WIDTHS), WIDTHS, strict=False)
        )
        self.up = nn.ModuleList(up(below, level) for below, level in levels)
        self.gates = nn.ModuleList(SpatialGate(level) if gated else nn.Identity() for _, level in levels)
        self.join = nn.ModuleList(block(2 * level, level) for _, level in levels)
        self.head = nn.Conv2d(WIDTHS[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for block in self.down:
            x = block(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        skips.pop()
        for up, gate, join in zip(self.up, self.gates, self.join, strict=True):
            x, skip = up(x), skips.pop()
            x = join(torch.cat((gate(skip, x) if isinstance(gate, SpatialGate) else skip, x), 1))
        found: Tensor = self.head(x)
        return found


class SpatialGate(nn.Module):
    """A number in [0, 1] for each position of a skip (Oktay et al. 2018, Attention U-Net)."""

    def __init__(self, channels: int):
        super().__init__()
        self.skip, self.below, self.one = (nn.Conv2d(channels, each, 1) for each in (channels, channels, channels))
        self.score = nn.Conv2d(channels, 1, 1)

    def forward(self, skip: Tensor, below: Tensor) -> Tensor:
        score = self.score(self.one(F.relu(self.skip(skip) + self.below(below))))
        return skip * score.sigmoid()


class ResidualPair(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.body = nn.Sequential(relu(inputs, outputs, 3), Conv(outputs, outputs, 3, act=nn.Identity))
        self.shortcut = Conv(inputs, outputs, act=nn.Identity)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def grouped_norm(inputs: int, outputs: int) -> nn.Module:
    layers = (
        layer
        for before in (inputs, outputs)
        for layer in (nn.Conv2d(before, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.ReLU())
    )
    return nn.Sequential(*layers)


def instance_norm(inputs: int, outputs: int) -> nn.Module:
    layers = (
        layer
        for before in (inputs, outputs)
        for layer in (
            nn.Conv2d(before, outputs, 3, padding=1),
            nn.InstanceNorm2d(outputs, affine=True),
            nn.LeakyReLU(0.01),
        )
    )
    return nn.Sequential(*layers)


def separable_pair(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(separable(inputs, outputs, act=nn.ReLU6), separable(outputs, outputs, act=nn.ReLU6))


def unet_transposed(input_shape: Shape, num_classes: int) -> nn.Module:
    return UNet(input_shape, num_classes)


def unet_shuffled(input_shape: Shape, num_classes: int) -> nn.Module:
    return UNet(input_shape, num_classes, up=shuffling)


def unet_bilinear(input_shape: Shape, num_classes: int) -> nn.Module:
    return UNet(input_shape, num_classes, up=bilinear)


def unet_gated(input_shape: Shape, num_classes: int) -> nn.Module:
    return UNet(input_shape, num_classes, up=bilinear, gated=True)


def unet_residual(input_shape: Shape, num_classes: int) -> nn.Module:
    return UNet(input_shape, num_classes, ResidualPair)


def unet_group_norm(input_shape: Shape, num_classes: int) -> nn.Module:
    return UNet(input_shape, num_classes, grouped_norm, bilinear)


def unet_instance_norm(input_shape: Shape, num_classes: int) -> nn.Module:
    """As nnU-Net has it."""
    return UNet(input_shape, num_classes, instance_norm)


def unet_separable(input_shape: Shape, num_classes: int) -> nn.Module:
    return UNet(input_shape, num_classes, separable_pair, bilinear)


class Nested(nn.Module):
    """U-Net++: every level is decoded at every depth, each map beside all before it (Zhou et al. 2018)."""

    def __init__(self, shape: Shape, classes: int):
        super().__init__()
        widths = WIDTHS[:3]
        self.columns = nn.ModuleList(
            nn.ModuleList(
                pair(column * width + below, width) if column else pair(before, width)
                for before, width, below in zip(
                    (shape[0], *widths), widths[: len(widths) - column], (*widths[1:], 0), strict=False
                )
            )
            for column in range(len(widths))
        )
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.columns
        rows: list[list[Tensor]] = []
        for block in first:  # type: ignore[attr-defined]
            x = block(F.max_pool2d(x, 2) if rows else x)
            rows.append([x])
        for column in others:
            for level, block in enumerate(column):  # type: ignore[arg-type]
                above = F.interpolate(rows[level + 1][-1], scale_factor=2.0, mode="nearest")
                rows[level].append(block(torch.cat((*rows[level], above), 1)))
        found: Tensor = self.head(rows[0][-1])
        return found


def unet_nested(input_shape: Shape, num_classes: int) -> nn.Module:
    return Nested(input_shape, num_classes)


class Rsu(nn.Module):
    """A small U-Net as a block, added to its first map (Qin et al. 2020, U²-Net)."""

    def __init__(self, inputs: int, outputs: int, middle: int = 32, depth: int = 3):
        super().__init__()
        self.enter = relu(inputs, outputs, 3)
        self.down = nn.ModuleList(relu(middle if level else outputs, middle, 3) for level in range(depth))
        self.bottom = relu(middle, middle, 3)
        self.up = nn.ModuleList(relu(2 * middle, middle if level else outputs, 3) for level in reversed(range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        whole = self.enter(x)
        skips: list[Tensor] = []
        x = whole
        for block in self.down:
            x = block(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        x = self.bottom(x)
        for block in self.up:
            skip = skips.pop()
            if x.shape[-1] != skip.shape[-1]:
                x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(torch.cat((x, skip), 1))
        return x + whole


def unet_of_unets(input_shape: Shape, num_classes: int) -> nn.Module:
    return UNet(input_shape, num_classes, Rsu, bilinear)


class Linked(nn.Module):
    """LinkNet: skips are added (Chaurasia and Culurciello 2017)."""

    def __init__(self, shape: Shape, classes: int):
        super().__init__()
        self.stem = relu(shape[0], WIDTHS[0], 3, 2)
        steps = list(pairwise(WIDTHS))
        self.down = nn.ModuleList(
            nn.Sequential(relu(before, after, 3, 2), ResidualPair(after, after)) for before, after in steps
        )
        self.up = nn.ModuleList(_decoder(after, before) for before, after in reversed(steps))
        self.head = nn.Sequential(_decoder(WIDTHS[0], WIDTHS[0]), nn.Conv2d(WIDTHS[0], classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        skips = [self.stem(x)]
        for block in self.down:
            skips.append(block(skips[-1]))
        x = skips.pop()
        for up in self.up:
            x = up(x) + skips.pop()
        found: Tensor = self.head(x)
        return found


def _decoder(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        relu(inputs, inputs // 4),
        *(nn.ConvTranspose2d(inputs // 4, inputs // 4, 4, 2, 1), nn.BatchNorm2d(inputs // 4), nn.ReLU()),
        relu(inputs // 4, outputs),
    )


def linknet(input_shape: Shape, num_classes: int) -> nn.Module:
    return Linked(input_shape, num_classes)


class Pooled(nn.Module):
    """PSPNet: means over a grid of regions beside the map (Zhao et al. 2017)."""

    def __init__(self, shape: Shape, classes: int):
        super().__init__()
        widths = (shape[0], *WIDTHS)
        self.trunk = nn.Sequential(
            *(
                nn.Sequential(relu(before, after, 3, 2 if index < 3 else 1), ResidualPair(after, after))
                for index, (before, after) in enumerate(pairwise(widths))
            )
        )
        self.pools = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), relu(WIDTHS[-1], WIDTHS[-1] // 4)) for bins in (1, 2, 4)
        )
        self.head = nn.Sequential(relu(WIDTHS[-1] // 4 * 7, 128, 3), nn.Conv2d(128, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        x = self.trunk(x)
        maps = [x]
        for pool in self.pools:
            maps.append(F.interpolate(pool(x), x.shape[-2:], mode="bilinear", align_corners=False))
        return F.interpolate(self.head(torch.cat(maps, 1)), size, mode="bilinear", align_corners=False)


def pyramid_pooling(input_shape: Shape, num_classes: int) -> nn.Module:
    return Pooled(input_shape, num_classes)


class TwoPaths(nn.Module):
    """BiSeNet: a shallow path for detail and a deep one for context, with gates (Yu et al. 2018)."""

    def __init__(self, shape: Shape, classes: int):
        super().__init__()
        widths = (shape[0], 32, 64, 128)
        steps = list(pairwise(widths))
        self.detail = nn.Sequential(*(relu(before, after, 3, 2) for before, after in steps))
        self.context = nn.Sequential(
            *(nn.Sequential(relu(before, after, 3, 2), separable(after, after)) for before, after in steps),
            *(nn.Sequential(relu(128, 128, 3, 2), ResidualPair(128, 128)), Gate(128, nn.Sigmoid)),
        )
        self.join, self.gate = relu(256, 128), Gate(128, nn.Sigmoid)
        self.head = nn.Sequential(relu(128, 64, 3), nn.Conv2d(64, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        context = F.interpolate(self.context(x), scale_factor=2.0, mode="nearest")
        joined = self.join(torch.cat((self.detail(x), context), 1))
        logits = self.head(joined + self.gate(joined))
        return F.interpolate(logits, scale_factor=8.0, mode="bilinear", align_corners=False)


def two_paths(input_shape: Shape, num_classes: int) -> nn.Module:
    return TwoPaths(input_shape, num_classes)


class Exchange(nn.Module):
    """HRNet's unit: two resolutions, each with what the other found added (Sun et al. 2019)."""

    def __init__(self, fine: int, coarse: int):
        super().__init__()
        self.fine, self.coarse = ResidualPair(fine, fine), ResidualPair(coarse, coarse)
        self.up = Conv(coarse, fine, act=nn.Identity)
        self.down = Conv(fine, coarse, 3, 2, act=nn.Identity)

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        fine, coarse = self.fine(fine), self.coarse(coarse)
        up = F.interpolate(self.up(coarse), scale_factor=2.0, mode="nearest")
        return F.relu(fine + up), F.relu(coarse + self.down(fine))


class HighResolution(nn.Module):
    """HRNet of two resolutions; its maps meet by concatenation."""

    def __init__(self, shape: Shape, outputs: int, fine: int = 64, coarse: int = 128):
        super().__init__()
        self.stem = nn.Sequential(relu(shape[0], 32, 3, 2), relu(32, fine, 3, 2))
        self.begin = relu(fine, coarse, 3, 2)
        self.units = nn.ModuleList(Exchange(fine, coarse) for _ in range(2))
        self.head = nn.Sequential(relu(fine + coarse, fine + coarse), nn.Conv2d(fine + coarse, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        fine = self.stem(x)
        coarse = self.begin(fine)
        for unit in self.units:
            fine, coarse = unit(fine, coarse)
        joined = torch.cat((fine, F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)), 1)
        found: Tensor = self.head(joined)
        return found


def high_resolution(input_shape: Shape, num_classes: int) -> nn.Module:
    network = HighResolution(input_shape, num_classes)
    return nn.Sequential(network, nn.Upsample(scale_factor=4, mode="bilinear", align_corners=False))


def inverted_unet(input_shape: Shape, num_classes: int) -> nn.Module:
    """With MobileNetV2's blocks."""
    return UNet(input_shape, num_classes, InvertedPair, bilinear)


class InvertedPair(nn.Module):
    """Sandler et al. (2018): wide inside, narrow outside, and a gate."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        wide = 2 * outputs
        self.enter = relu(inputs, outputs)
        self.body = nn.Sequential(
            *(relu(outputs, wide), depthwise(wide, act=nn.ReLU), Gate(wide), Conv(wide, outputs, act=nn.Identity))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        found: Tensor = x + self.body(x)
        return found
