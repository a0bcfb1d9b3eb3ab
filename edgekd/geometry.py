"""Geometry of images: where augmentation or resizing moved their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgekd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Size = tuple[int, int]  # height, width


@dataclass(frozen=True, eq=False)
class Geometry:
    """A map for each of N images, from places before to places after: mirrored, scaled and shifted along each axis.

    Places are in pixels from the upper left corner: the first pixel of a row reaches from 0 to 1, its centre is 0.5.

    Attributes:
        scale, shift: (N, 2) float64, of x and y; x goes to ``scale`` · x + ``shift``, and a negative scale mirrors.
        before, after: (height, width) of all N images.
    """

    scale: Floats
    shift: Floats
    before: Size
    after: Size

    @classmethod
    def unmoved(cls, count: int, size: Size) -> Geometry:
        """Return the geometry of ``count`` images that stay as they are."""
        return cls(np.ones((count, 2)), np.zeros((count, 2)), size, size)

    @classmethod
    def resized(
        cls, count: int, before: Size, after: Size, placed: tuple[int, int, int, int] | None = None
    ) -> Geometry:
        """Return the geometry of ``count`` images that are resized.

        Args:
            placed: left, top, width and height of the image in one of the size ``after``, which it fills if left out.
        """
        left, top, width, height = placed or (0, 0, after[1], after[0])
        scale = np.array([width / before[1], height / before[0]])
        return cls(np.tile(scale, (count, 1)), np.tile([float(left), float(top)], (count, 1)), before, after)

    @classmethod
    def joined(cls, parts: Sequence[Geometry]) -> Geometry:
        """Return the geometry of all images of ``parts``, whose sizes are alike."""
        scale, shift = (np.concatenate([getattr(each, name) for each in parts]) for name in ("scale", "shift"))
        return cls(scale, shift, parts[0].before, parts[0].after)

    def then(self, other: Geometry) -> Geometry:
        """Return this geometry followed by ``other`` of the same images."""
        return Geometry(other.scale * self.scale, other.scale * self.shift + other.shift, self.before, other.after)

    def inverse(self) -> Geometry:
        """Return the way back, from places after to places before."""
        return Geometry(1 / self.scale, -self.shift / self.scale, self.after, self.before)

    def points(self, points: NDArray[Any]) -> Floats:
        """Return where points (N, ..., 2), each (x, y), went; NaN stays NaN."""
        each = (len(self.scale), *(1,) * (points.ndim - 2), 2)
        found: Floats = self.scale.reshape(each) * np.asarray(points, np.float64) + self.shift.reshape(each)
        return found

    def rectangles(self, rectangles: NDArray[Any]) -> Floats:
        """Return where rectangles (N, ..., 4), each (left, top, right, bottom), went; they are not clipped."""
        corners = self.points(np.asarray(rectangles).reshape(*rectangles.shape[:-1], 2, 2))
        return np.concatenate([corners.min(-2), corners.max(-2)], -1)

    def resample(self, planes: NDArray[Any], outside: int) -> NDArray[Any]:
        """Return planes (N, H, W) of the size before in that after, each pixel the one before whose place it shows.

        Args:
            outside: the value of pixels that show nothing of the plane before.

        Raises:
            DataError: planes are not of the size before.
        """
        if planes.shape[1:] != self.before:
            sizes = ["x".join(map(str, reversed(size))) for size in (planes.shape[1:], self.before)]
            raise DataError(f"masks are of {sizes[0]} pixels, and their images of {sizes[1]}: give both in one size")
        columns, rows = (self._origins(axis) for axis in (0, 1))
        which = np.arange(len(planes))[:, None, None]
        found = planes[which, rows.clip(min=0)[:, :, None], columns.clip(min=0)[:, None]]
        return np.where(self.inside(), found, np.asarray(outside, planes.dtype))

    def inside(self) -> NDArray[np.bool_]:
        """Return which pixels (N, H, W) of the size after show one of the image before."""
        columns, rows = (self._origins(axis) for axis in (0, 1))
        found: NDArray[np.bool_] = (rows >= 0)[:, :, None] & (columns >= 0)[:, None]
        return found

    def _origins(self, axis: int) -> NDArray[np.int64]:
        """Return the pixel before that each one after shows along x (0) or y (1), (N, size after); −1 for none."""
        centres = np.arange(self.after[1 - axis]) + 0.5
        places = (centres - self.shift[:, axis : axis + 1]) / self.scale[:, axis : axis + 1]
        # Exact halves of pixels, as of a shift by whole ones, must not fall to a neighbour by rounding.
        pixels = np.floor(places + 1e-9).astype(np.int64)
        return np.where((pixels >= 0) & (pixels < self.before[1 - axis]), pixels, -1)


class Tile(NamedTuple):
    """A part of each of N images that are put together of several: which ones it shows, (N,), and where they go.

    The parts of an image do not overlap.
    """

    rows: NDArray[np.int64]
    geometry: Geometry
