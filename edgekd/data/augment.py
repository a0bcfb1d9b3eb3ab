"""Augmentations that a recipe may name: random changes to a batch of raw images, each with draws of its own.

One that moves pixels says where they go, and the task moves its targets along; so does one that puts images of a batch
together. Functions import PyTorch and NumPy when they are called: recipes are read without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from edgekd.errors import DataError
from edgekd.registry import Registry
from edgekd.tasks.task import JoinsTargets

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from edgekd.geometry import Geometry, Size, Tile
    from edgekd.tasks.task import Task

# Factors of ``scale``, and the smallest one of ``mosaic``, in which each image is seen whole.
SMALLEST, LARGEST = 0.5, 1.5
WHOLE = 0.5

Change = Callable[["Tensor", "Tensor"], "Tensor"]
# From (height, width) of the images and the uniforms (N, draws).
Moves = Callable[["Size", "Tensor"], "Geometry"]
Joins = Callable[["Size", "Tensor"], "list[Tile]"]


@dataclass(frozen=True)
class Augmentation:
    """A change of (N, C, H, W) uint8 by (N, ``draws``) uniforms, float64 in [0, 1).

    What becomes of an image depends on its own row alone, not on the batch that it is in. ``moves`` gives where pixels
    go, None if they stay where they are. One that puts images of the batch together has ``joins`` in its place, which
    gives the tiles of the new ones.
    """

    draws: int
    change: Change
    moves: Moves | None = None
    joins: Joins | None = None


AUGMENTATIONS: Registry[Augmentation] = Registry("augmentation", DataError)


def augmentation(
    name: str, draws: int, moves: Moves | None = None, joins: Joins | None = None
) -> Callable[[Change], Change]:
    """Register a function under ``name``, for recipes' ``data.augment``."""

    def add(change: Change) -> Change:
        AUGMENTATIONS[name] = Augmentation(draws, change, moves, joins)
        return change

    return add


def _cropped(size: Size, uniforms: Tensor) -> Geometry:
    import numpy as np

    from edgekd.geometry import Geometry

    pad = np.array(_padding(*size))
    first = (uniforms.numpy() * (2 * pad + 1)).astype(np.int64)
    return Geometry(np.ones(first.shape), (pad - first)[:, ::-1].astype(np.float64), size, size)


def _flipped(size: Size, uniforms: Tensor) -> Geometry:
    import numpy as np

    from edgekd.geometry import Geometry

    mirrored = uniforms.numpy()[:, :1] < 0.5
    scale = np.where(mirrored, [-1.0, 1.0], 1.0)
    return Geometry(scale, np.where(mirrored, [float(size[1]), 0.0], 0.0), size, size)


def _scaled(size: Size, uniforms: Tensor) -> Geometry:
    import numpy as np

    from edgekd.geometry import Geometry

    draws, sides = uniforms.numpy(), np.array(size[::-1], np.float64)
    factor = SMALLEST * (LARGEST / SMALLEST) ** draws[:, :1]
    return Geometry(np.repeat(factor, 2, 1), draws[:, 1:] * sides * (1 - factor), size, size)


def _tiles(size: Size, uniforms: Tensor) -> list[Tile]:
    """Return the tiles: upper left, upper right, lower left and lower right."""
    import numpy as np

    from edgekd.geometry import Geometry, Tile

    draws, sides = uniforms.numpy(), np.array(size[::-1])
    factor = WHOLE ** draws[:, :1]
    # The centre is where images of that size leave nothing free around it.
    first = np.minimum(sides - np.floor(factor * sides), sides // 2)
    centre = first + np.floor(draws[:, 1:3] * (sides - 2 * first + 1))
    rows = np.column_stack([np.arange(len(draws)), draws[:, 3:] * len(draws)]).astype(np.int64)
    # Those at the left end at the centre, and those at the right begin there.
    shifts = [np.where([place % 2, place // 2], centre, centre - factor * sides) for place in range(4)]
    scale = np.repeat(factor, 2, 1)
    return [Tile(own, Geometry(scale, shift, size, size)) for own, shift in zip(rows.T, shifts, strict=True)]


def _padding(height: int, width: int) -> tuple[int, int]:
    return max(1, height // 8), max(1, width // 8)


@augmentation("crop", draws=2, moves=_cropped)
def crop(images: Tensor, uniforms: Tensor) -> Tensor:
    """Pad an eighth of the size on every side by zeros, and cut the old size out at random places.

    The first draw says how far down, the second how far to the right.
    """
    import torch
    import torch.nn.functional as F

    count, _, height, width = images.shape
    pad_y, pad_x = _padding(height, width)
    padded = F.pad(images, (pad_x, pad_x, pad_y, pad_y))
    first = (uniforms * torch.tensor([2 * pad_y + 1, 2 * pad_x + 1])).long()
    top, left = first[:, :1] + torch.arange(height), first[:, 1:] + torch.arange(width)
    rows = torch.arange(count)[:, None, None]
    return padded.permute(0, 2, 3, 1)[rows, top[:, :, None], left[:, None, :]].permute(0, 3, 1, 2)


@augmentation("flip", draws=1, moves=_flipped)
def flip(images: Tensor, uniforms: Tensor) -> Tensor:
    """Mirror the images whose draw is below a half left to right."""
    import torch

    return torch.where(uniforms[:, :, None, None] < 0.5, images.flip(3), images)


@augmentation("scale", draws=3, moves=_scaled)
def scale(images: Tensor, uniforms: Tensor) -> Tensor:
    """Scale the images by a factor from 0.5 to 1.5, bilinearly, and put them at random places.

    The first draw says how much, its logarithm uniform, the second how far to the right and the third how far down. An
    enlarged image is cut to the old size, and what a shrunken one leaves free is 0.
    """
    height, width = images.shape[2:]
    return _resampled(images, _scaled((height, width), uniforms))


@augmentation("mosaic", draws=6, joins=_tiles)
def mosaic(images: Tensor, uniforms: Tensor) -> Tensor:
    """Put four images together around a random point: each one, at its upper left, and any three of the batch.

    All four are scaled by one factor from 0.5 to 1, bilinearly, and have a corner at the point; what does not fit is
    cut off (Bochkovskiy et al., "YOLOv4", 2020, section 3.3). The first draw gives the factor, its logarithm uniform,
    the next ones how far to the right and how far down the point lies, where nothing is left free, and the last ones
    the images at its upper right, lower left and lower right.
    """
    import torch

    height, width = images.shape[2:]
    found = torch.zeros_like(images)
    for tile in _tiles((height, width), uniforms):
        seen = _resampled(images[torch.from_numpy(tile.rows)], tile.geometry)
        found = torch.where(torch.from_numpy(tile.geometry.inside())[:, None], seen, found)
    return found


def _resampled(images: Tensor, geometry: Geometry) -> Tensor:
    """Show images (N, C, H, W) where ``geometry`` puts them, bilinearly, and 0 where there is none."""
    import torch
    import torch.nn.functional as F

    height, width = images.shape[2:]
    # Places of grid_sample reach from −1 to 1 between the outer edges.
    theta = torch.zeros(len(images), 2, 3)
    for axis, side in enumerate((width, height)):
        factor, shift = (torch.from_numpy(each[:, axis]) for each in (geometry.scale, geometry.shift))
        theta[:, axis, axis], theta[:, axis, 2] = 1 / factor, (1 - 2 * shift / side) / factor - 1
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, mode="bilinear", align_corners=False).round().to(images.dtype)


def draws_of(names: Iterable[str]) -> int:
    """Count the uniforms that an image takes for the augmentations ``names``, all together.

    Raises:
        DataError: one is not known.
    """
    return sum(AUGMENTATIONS.find(name).draws for name in names)


def joining(names: Iterable[str]) -> list[str]:
    """Return which of the augmentations ``names`` put images of a batch together.

    Raises:
        DataError: one is not known.
    """
    return [name for name in names if AUGMENTATIONS.find(name).joins is not None]


def must_join(names: Iterable[str], task: Task) -> None:
    """Refuse augmentations that put images together whose targets ``task`` cannot: DataError."""
    if not isinstance(task, JoinsTargets) and (found := joining(names)):
        raise DataError(
            f"data.augment: {found[0]} puts several images together, and {task.name} has one target for an image: "
            "leave it out"
        )


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
    _must_suffice(len(images), names, uniforms)
    for name, own in _shared_out(names, uniforms):
        images = AUGMENTATIONS[name].change(images, own)
    return images


def geometry_with(count: int, size: Size, names: Sequence[str], uniforms: Tensor) -> Geometry:
    """Return where the pixels of ``count`` images go by the augmentations ``names`` with the draws ``uniforms``.

    Args:
        size: (height, width) of the images.
        uniforms: as :func:`augment_with` takes them.

    Raises:
        DataError: an augmentation is not known or puts several images together, or there are more or fewer uniforms.
    """
    from edgekd.geometry import Geometry

    _must_suffice(count, names, uniforms)
    if together := joining(names):
        raise DataError(f"{together[0]} puts images together, which have no one geometry: call augment_samples")
    found = Geometry.unmoved(count, size)
    for name, own in _shared_out(names, uniforms):
        if moves := AUGMENTATIONS[name].moves:
            found = found.then(moves(found.after, own))
    return found


def augment_samples(
    images: Tensor, stored: Tensor, names: Sequence[str], uniforms: Tensor, task: Task
) -> tuple[Tensor, Tensor]:
    """Change ``images`` by :func:`augment_with`, and move their targets along.

    Args:
        stored: (N, ...), the images' targets as data sets of ``task`` store them.

    Raises:
        DataError: as :func:`augment_with`, or images are put together whose targets cannot be.
    """
    import torch

    must_join(names, task)
    changed = augment_with(images, names, uniforms)
    if not names:
        return changed, stored
    height, width = images.shape[2:]
    before = stored.numpy()
    moved = _moved(before, names, uniforms, (height, width), task)
    return changed, stored if moved is before else torch.from_numpy(moved)


def _moved(stored: NDArray[Any], names: Sequence[str], uniforms: Tensor, size: Size, task: Task) -> NDArray[Any]:
    import torch

    for is_joining, chain in groupby(_shared_out(names, uniforms), key=lambda each: bool(joining(each[:1]))):
        run = list(chain)
        if not is_joining:
            own = torch.cat([each for _, each in run], 1)
            stored = task.move_targets(stored, geometry_with(len(stored), size, [name for name, _ in run], own))
            continue
        for name, own in run:
            joins = AUGMENTATIONS[name].joins
            assert joins is not None and isinstance(task, JoinsTargets)
            stored = task.join_targets(stored, joins(size, own))
    return stored


def _must_suffice(count: int, names: Sequence[str], uniforms: Tensor) -> None:
    wanted = (count, draws_of(names))
    if tuple(uniforms.shape) != wanted:
        raise DataError(
            f"augmentations {', '.join(names) or '(none)'} take uniforms of shape {wanted} for {count} images, "
            f"got {tuple(uniforms.shape)}: draw as many as draws_of says"
        )


def _shared_out(names: Sequence[str], uniforms: Tensor) -> Iterator[tuple[str, Tensor]]:
    place = 0
    for name in names:
        draws = AUGMENTATIONS[name].draws
        yield name, uniforms[:, place : place + draws]
        place += draws
