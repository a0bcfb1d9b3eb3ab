"""Heads that find points: heat maps by transposed convolutions and by pixel shuffle, coordinates by bins and by means.

Each function builds a network for ``path.py:function`` of a recipe; a point is a class.
"""

from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from dense_blocks import Conv, depthwise, separable
from torch import Tensor, nn
from unets import HighResolution, ResidualPair

Shape = tuple[int, ...]
Maps = dict[str, Tensor]
relu = partial(Conv, act=nn.ReLU)


class Trunk(nn.Sequential):
    """A residual network that divides the sides by 16."""

    def __init__(self, channels: int):
        widths = (channels, 32, 64, 128, 192)
        super().__init__(
            *(
                nn.Sequential(relu(before, after, 3, 2), ResidualPair(after, after))
                for before, after in pairwise(widths)
            )
        )


def _deconvolution(inputs: int, outputs: int, groups: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, groups=groups, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def deconvolutions(input_shape: Shape, num_classes: int) -> nn.Module:
    """Xiao et al. (2018), "Simple Baselines"."""
    return nn.Sequential(
        Trunk(input_shape[0]), _deconvolution(192, 128), _deconvolution(128, 96), nn.Conv2d(96, num_classes, 1)
    )


def depthwise_deconvolutions(input_shape: Shape, num_classes: int) -> nn.Module:
    """As Lite-HRNet's and CenterNet's small heads have them."""
    return nn.Sequential(
        *(Trunk(input_shape[0]), relu(192, 128), _deconvolution(128, 128, 128)),
        *(relu(128, 96), _deconvolution(96, 96, 96), nn.Conv2d(96, num_classes, 1)),
    )


def pixel_shuffle(input_shape: Shape, num_classes: int) -> nn.Module:
    """Two pixel shuffles, and heat maps of a quarter of the image."""
    return nn.Sequential(
        Trunk(input_shape[0]),
        *(relu(192, 384, 3), nn.PixelShuffle(2), relu(96, 256, 3), nn.PixelShuffle(2), nn.Conv2d(64, num_classes, 1)),
    )


def shuffled_heat_maps(input_shape: Shape, num_classes: int) -> nn.Module:
    """The shuffle gives the heat maps themselves."""
    return nn.Sequential(
        Trunk(input_shape[0]), relu(192, 192, 3), nn.Conv2d(192, 16 * num_classes, 1), nn.PixelShuffle(4)
    )


def high_resolution_pose(input_shape: Shape, num_classes: int) -> nn.Module:
    return HighResolution(input_shape, num_classes)


class Hourglass(nn.Module):
    """Newell et al. (2016): halved and doubled again, with what was there before added."""

    def __init__(self, channels: int, depth: int = 2):
        super().__init__()
        self.skip, self.down, self.up = (ResidualPair(channels, channels) for _ in range(3))
        self.inner = Hourglass(channels, depth - 1) if depth > 1 else ResidualPair(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.up(self.inner(self.down(F.max_pool2d(x, 2))))
        return self.skip(x) + F.interpolate(inner, scale_factor=2.0, mode="nearest")


class Stacked(nn.Module):
    """Two hourglasses; the first one's heat maps go into the second, and both are outputs."""

    def __init__(self, shape: Shape, points: int, channels: int = 96):
        super().__init__()
        self.stem = nn.Sequential(relu(shape[0], 48, 3, 2), relu(48, channels, 3, 2))
        self.stacks = nn.ModuleList(nn.Sequential(Hourglass(channels), relu(channels, channels)) for _ in range(2))
        self.heads = nn.ModuleList(nn.Conv2d(channels, points, 1) for _ in range(2))
        self.features, self.maps = nn.Conv2d(channels, channels, 1), nn.Conv2d(points, channels, 1)

    def forward(self, x: Tensor) -> Maps:
        x = self.stem(x)
        first = self.stacks[0](x)
        coarse = self.heads[0](first)
        x = x + self.features(first) + self.maps(coarse)
        return {"first": coarse, "second": self.heads[1](self.stacks[1](x))}


def hourglass(input_shape: Shape, num_classes: int) -> nn.Module:
    return Stacked(input_shape, num_classes)


class Refined(nn.Module):
    """Lightweight OpenPose: heat maps and fields of a first stage beside the features of a second (Osokin 2018)."""

    def __init__(self, shape: Shape, points: int, channels: int = 96):
        super().__init__()
        widths = (shape[0], 32, 64, channels)
        self.trunk = nn.Sequential(
            *(
                nn.Sequential(separable(before, after, 3, 2) if index else relu(before, after, 3, 2))
                for index, (before, after) in enumerate(pairwise(widths))
            ),
            ResidualPair(channels, channels),
        )
        self.first, self.second = self._stage(channels, points), self._stage(channels + 3 * points, points)

    def forward(self, x: Tensor) -> Maps:
        x = self.trunk(x)
        maps, fields = (head(self.first["body"](x)) for head in (self.first["maps"], self.first["fields"]))
        after = self.second["body"](torch.cat((x, maps, fields), 1))
        return {
            "maps_1": maps,
            "fields_1": fields,
            "maps_2": self.second["maps"](after),
            "fields_2": self.second["fields"](after),
        }

    @staticmethod
    def _stage(inputs: int, points: int) -> nn.ModuleDict:
        body = nn.Sequential(relu(inputs, 96), depthwise(96), relu(96, 128, 3))
        return nn.ModuleDict({"body": body, "maps": nn.Conv2d(128, points, 1), "fields": nn.Conv2d(128, 2 * points, 1)})


def refined(input_shape: Shape, num_classes: int) -> nn.Module:
    return Refined(input_shape, num_classes)


class Bins(nn.Module):
    """SimCC: each point's x and y as one of so many bins, by a layer over its flattened map (Li et al. 2022)."""

    def __init__(self, shape: Shape, points: int):
        super().__init__()
        positions = shape[1] // 16 * (shape[2] // 16)
        self.trunk, self.maps = Trunk(shape[0]), nn.Conv2d(192, points, 1)
        self.x, self.y = nn.Linear(positions, 2 * shape[2]), nn.Linear(positions, 2 * shape[1])

    def forward(self, x: Tensor) -> Maps:
        maps = self.maps(self.trunk(x)).flatten(2)
        return {"x": self.x(maps), "y": self.y(maps)}


def bins(input_shape: Shape, num_classes: int) -> nn.Module:
    return Bins(input_shape, num_classes)


class Mean(nn.Module):
    """Coordinates as the mean position under each heat map (Sun et al. 2018, integral regression)."""

    def __init__(self, shape: Shape, points: int):
        super().__init__()
        self.maps = deconvolutions(shape, points)
        self.register_buffer("places", torch.linspace(0, 1, shape[2] // 4), persistent=False)

    def forward(self, x: Tensor) -> Maps:
        n, points, height, width = (maps := self.maps(x)).shape
        shares = maps.view(n, points, height * width).softmax(2).view(n, points, height, width)
        return {"x": (shares.sum(2) * self.places).sum(2), "y": (shares.sum(3) * self.places).sum(2)}


def mean_position(input_shape: Shape, num_classes: int) -> nn.Module:
    return Mean(input_shape, num_classes)


class Centres(nn.Module):
    """CenterNet and MoveNet: a heat map of centres, and what belongs to each, from a pyramid's finest level."""

    def __init__(self, shape: Shape, points: int, across: int = 96):
        super().__init__()
        widths = (shape[0], 32, 64, 96, 128)
        self.stages = nn.ModuleList(
            nn.Sequential(relu(before, after, 3, 2), ResidualPair(after, after)) for before, after in pairwise(widths)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(width, across, 1) for width in widths[2:])
        outputs = {"centres": 1, "points": 2 * points, "offsets": 2, "maps": points}
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(separable(across, across), nn.Conv2d(across, count, 1))
                for name, count in outputs.items()
            }
        )

    def forward(self, x: Tensor) -> Maps:
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        maps = [lateral(each) for lateral, each in zip(self.lateral, levels[1:], strict=True)]
        x = maps.pop()
        while maps:
            x = maps.pop() + F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return {name: head(x) for name, head in self.heads.items()}


def centres(input_shape: Shape, num_classes: int) -> nn.Module:
    return Centres(input_shape, num_classes)
