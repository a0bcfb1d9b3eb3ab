"""Random changes to a whole batch of raw images at once; each takes (N, C, H, W) uint8 and a generator."""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from edgekd.errors import DataError
from edgekd.registry import Registry

AUGMENTATIONS: Registry[Callable[[Tensor, torch.Generator], Tensor]] = Registry("augmentation", DataError)


@AUGMENTATIONS.register("crop")
def crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pads an eighth of the size on every side by zeros and cuts the old size out at random places."""
    count, _, height, width = images.shape
    pad_y, pad_x = max(1, height // 8), max(1, width // 8)
    padded = F.pad(images, (pad_x, pad_x, pad_y, pad_y))
    top = torch.randint(0, 2 * pad_y + 1, (count, 1), generator=generator) + torch.arange(height)
    left = torch.randint(0, 2 * pad_x + 1, (count, 1), generator=generator) + torch.arange(width)
    rows = torch.arange(count)[:, None, None]
    return padded.permute(0, 2, 3, 1)[rows, top[:, :, None], left[:, None, :]].permute(0, 3, 1, 2)


@AUGMENTATIONS.register("flip")
def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrors half of the images left to right."""
    chosen = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def augment(images: Tensor, names: Iterable[str], generator: torch.Generator) -> Tensor:
    for name in names:
        images = AUGMENTATIONS.find(name)(images, generator)
    return images
