"""Augmentations that a recipe may name: random changes to a batch of raw images, each with draws of its own.

Functions import PyTorch when they are called: recipes are read without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekd.errors import DataError
from edgekd.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Change = Callable[["Tensor", "Tensor"], "Tensor"]


@dataclass(frozen=True)
class Augmentation:
    """A change of (N, C, H, W) uint8 by (N, ``draws``) uniforms, float64 in [0, 1).

    What becomes of an image depends on its own row alone, not on the batch that it is in.
    """

    draws: int
    change: Change


AUGMENTATIONS: Registry[Augmentation] = Registry("augmentation", DataError)


def augmentation(name: str, draws: int) -> Callable[[Change], Change]:
    """Register a function under ``name``, for recipes' ``data.augment``."""

    def add(change: Change) -> Change:
        AUGMENTATIONS[name] = Augmentation(draws, change)
        return change

    return add


@augmentation("crop", draws=2)
def crop(images: Tensor, uniforms: Tensor) -> Tensor:
    """Pad an eighth of the size on every side by zeros, and cut the old size out at random places.

    The first draw says how far down, the second how far to the right.
    """
    import torch
    import torch.nn.functional as F

    count, _, height, width = images.shape
    pad_y, pad_x = max(1, height // 8), max(1, width // 8)
    padded = F.pad(images, (pad_x, pad_x, pad_y, pad_y))
    first = (uniforms * torch.tensor([2 * pad_y + 1, 2 * pad_x + 1])).long()
    top, left = first[:, :1] + torch.arange(height), first[:, 1:] + torch.arange(width)
    rows = torch.arange(count)[:, None, None]
    return padded.permute(0, 2, 3, 1)[rows, top[:, :, None], left[:, None, :]].permute(0, 3, 1, 2)


@augmentation("flip", draws=1)
def flip(images: Tensor, uniforms: Tensor) -> Tensor:
    """Mirror the images whose draw is below a half left to right."""
    import torch

    return torch.where(uniforms[:, :, None, None] < 0.5, images.flip(3), images)


def draws_of(names: Iterable[str]) -> int:
    """Count the uniforms that an image takes for the augmentations ``names``, all together.

    Raises:
        DataError: one is not known.
    """
    return sum(AUGMENTATIONS.find(name).draws for name in names)


def augment(images: Tensor, names: Sequence[str], generator: torch.Generator) -> Tensor:
    """Change ``images`` by the augmentations ``names``, one after the other, with draws of ``generator``.

    Args:
        images: (N, C, H, W) uint8; left as they are.

    Raises:
        DataError: an augmentation is not known.
    """
    import torch

    drawn = torch.rand(len(images), draws_of(names), dtype=torch.float64, generator=generator)
    return augment_with(images, names, drawn)


def augment_with(images: Tensor, names: Sequence[str], uniforms: Tensor) -> Tensor:
    """Change ``images`` by the augmentations ``names``, one after the other, with the draws ``uniforms``.

    Args:
        images: (N, C, H, W) uint8; left as they are.
        uniforms: (N, :func:`draws_of` ``names``) float64 in [0, 1), those of the first augmentation first.

    Raises:
        DataError: an augmentation is not known, or there are more or fewer uniforms.
    """
    wanted = (len(images), draws_of(names))
    if tuple(uniforms.shape) != wanted:
        raise DataError(
            f"augmentations {', '.join(names) or '(none)'} take uniforms of shape {wanted} for {len(images)} images, "
            f"got {tuple(uniforms.shape)}: draw as many as draws_of says"
        )
    place = 0
    for name in names:
        chosen = AUGMENTATIONS[name]
        images = chosen.change(images, uniforms[:, place : place + chosen.draws])
        place += chosen.draws
    return images
