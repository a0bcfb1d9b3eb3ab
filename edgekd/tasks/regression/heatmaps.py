"""Points from heat maps, a map of scores for each point, whose largest value is where the point is. NumPy alone.

A place between cells is found as in Zhang et al., "Distribution-Aware Coordinate Representation for Human Pose
Estimation" (DARK, 2020, arXiv 1910.06278), section 3.1: a network learns Gaussians, whose logarithm is a parabola, and
three values of a parabola give its vertex. Each axis is taken by itself, which is the diagonal of the paper's Hessian,
and maps are not smoothed before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgekd.tasks.task import Language

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Size = tuple[int, int]  # height, width

# Values below have the logarithm of this one.
LEAST = 1e-6
# Of a cell, how far apart two programs may place a point.
NEAR = 0.1
# Of each point: x and y in pixels of the network's image, and the score.
COLUMNS = 3

PYTHON = """\
def vertex(cells, peak):  # of the parabola through the logarithms of a peak and its neighbours
    logs = np.log(np.maximum(cells, {least}))
    here = logs[peak]
    before = logs[peak - 1] if peak > 0 else 2 * here - logs[peak + 1] - {bend}
    after = logs[peak + 1] if peak + 1 < len(logs) else 2 * here - logs[peak - 1] - {bend}
    bend = 2 * here - before - after
    return peak + 0.5 + (np.clip((after - before) / (2 * bend), -0.5, 0.5) if bend > 0 else 0)


for label, cells in zip(labels, logits.astype(np.float64)):
    row, column = np.unravel_index(cells.argmax(), cells.shape)
    x = vertex(cells[row], column) * {width} / cells.shape[1]
    y = vertex(cells[:, column], row) * {height} / cells.shape[0]
    print(label, {x}, {y}, cells[row, column])
"""
CPP = """\
const auto sizes = outputs[0].GetTensorTypeAndShapeInfo().GetShape();
const int64_t rows = sizes[2], columns = sizes[3];
// The vertex of the parabola through the logarithms of a peak and its neighbours.
const auto vertex = [](const float* cells, int64_t step, int64_t count, int64_t peak) {{
  const auto log_at = [&](int64_t place) {{ return std::log(std::max(double(cells[place * step]), {least})); }};
  const double here = log_at(peak);
  double before = peak > 0 ? log_at(peak - 1) : 0, after = peak + 1 < count ? log_at(peak + 1) : 0;
  if (peak == 0) before = 2 * here - after - {bend};
  if (peak + 1 == count) after = 2 * here - before - {bend};
  const double bend = 2 * here - before - after;
  return peak + 0.5 + (bend > 0 ? std::clamp((after - before) / (2 * bend), -0.5, 0.5) : 0);
}};
for (size_t i = 0; i < labels.size(); i++) {{
  const float* cells = logits + i * rows * columns;
  const int64_t peak = std::max_element(cells, cells + rows * columns) - cells;
  const double x = vertex(cells + peak / columns * columns, 1, columns, peak % columns) * {width} / columns;
  const double y = vertex(cells + peak % columns, columns, rows, peak / columns) * {height} / rows;
  std::printf("%s %.6f %.6f %.6f\\n", labels[i].c_str(), {x}, {y}, cells[peak]);
}}
"""


def must_be_maps(shape: Sequence[int], image: Size | None, network: str = "the network") -> Size:
    """Return the ``image``, whose height and width heat maps (N, points, h, w) of this shape are decoded with.

    Raises:
        ModelError: it is not known, or maps have no neighbours between which a place lies; it names ``network``.
    """
    if min(shape[2:]) < 2:
        raise ModelError(
            f"{network} gives heat maps of {shape[3]}x{shape[2]} cells, and a place is found between neighbours: give "
            "maps of 2x2 or more, or x and y of each point"
        )
    return known_size(image, network)


def known_size(image: Size | None, network: str = "the network") -> Size:
    """Return the ``image``, its height and width: ModelError naming ``network`` where they are not known."""
    if image is None:
        raise ModelError(
            f"{network} gives heat maps, and the size of its image is not known: give images as data, or "
            "Keypoints(names, image=(height, width))"
        )
    return image


def decode(maps: NDArray[Any], image: Size, sigma: float) -> Floats:
    """Return x and y in pixels of the image, and the score, of the largest value of each map: (N, points, 3).

    The score is that value, about 1 where a network is sure and 0 where it sees nothing. All three are NaN where a map
    is not finite.

    Args:
        maps: (N, points, h, w), at least 2 x 2, over the whole image.
        image: its height and width.
        sigma: of the Gaussians that were learned, in cells. It gives a peak at the edge its missing neighbour.
    """
    height, width = maps.shape[2:]
    peaks = _peaks(maps)
    with np.errstate(invalid="ignore"):
        x, y = (_place(maps, peaks, axis, sigma) for axis in (1, 0))
    found = np.stack([x * image[1] / width, y * image[0] / height, _at(maps, peaks)], -1)
    found[~np.isfinite(maps).all((2, 3))] = np.nan
    return found


def steady(maps: NDArray[Any], tolerance: float, image: Size, sigma: float, reach: float) -> NDArray[np.bool_]:
    """Return which points (N, points) no change of values by ``tolerance`` moves further than ``reach`` pixels.

    They are those to whose peak nothing but its neighbours comes near, and which stay where they are whichever cell is
    the largest and though the cells on both sides of it change against each other.
    """
    values = maps.astype(np.float64)
    peaks = _peaks(values)
    may_be = values >= (_at(values, peaks) - 2 * tolerance)[..., None, None]
    is_far = (_sides(values, peaks, 2) != 0).any(0)
    is_steady: NDArray[np.bool_] = ~(may_be & is_far).any((2, 3))
    last = [size - 1 for size in values.shape[2:]]
    for row, column in np.ndindex(3, 3):
        # Beyond an edge it is the edge's own cell, which counts anyway.
        other = (peaks[0] + row - 1).clip(0, last[0]), (peaks[1] + column - 1).clip(0, last[1])
        tilt = tolerance * _sides(values, other, 1).sum(0)
        moved = np.zeros_like(is_steady, np.float64)
        for axis in (0, 1):
            here, *places = (
                _place(values + sign * tilt, at, axis, sigma) for sign, at in ((0, peaks), (-1, other), (1, other))
            )
            cell = image[axis] / values.shape[2 + axis]
            moved += (cell * np.max([np.abs(each - here) for each in places], 0)) ** 2
        is_steady &= (_at(may_be, other) == 0) | (np.sqrt(moved) < reach)
    return is_steady


def same_points(
    rows: NDArray[Any], maps: NDArray[Any], image: Size, sigma: float, rounding: float
) -> tuple[NDArray[np.bool_], int]:
    """Return in which samples (N,) ``rows`` (N, points, 3) are the points of ``maps``, and how many were compared.

    Points may be :data:`NEAR` of a cell apart and their scores ``rounding``. Those that a change of values by
    ``rounding`` moves further are not compared.
    """
    expected = decode(maps, image, sigma)
    reach = NEAR * min(pixels / cells for pixels, cells in zip(image, maps.shape[2:], strict=True))
    if rows.shape != expected.shape:
        return np.zeros(len(maps), bool), 0
    lost = np.isnan(expected).any(2)
    with np.errstate(invalid="ignore"):
        compared = lost | steady(maps, rounding, image, sigma, reach)
        near = np.abs(rows - expected) <= np.array([reach, reach, rounding])
    alike = np.where(lost, np.isnan(rows).all(2), near.all(2))
    found: NDArray[np.bool_] = np.all(alike | ~compared, axis=1)
    return found, int(compared.sum())


def code(language: Language, image: Size, sigma: float, places: tuple[str, str]) -> str:
    """Return the lines that print each point and its score; ``places`` are the terms of x and y that are printed."""
    numbers = {"least": repr(LEAST), "bend": repr(1 / sigma**2), "height": image[0], "width": image[1]}
    return {"python": PYTHON, "cpp": CPP}[language].format(**numbers, x=places[0], y=places[1])


def _peaks(values: NDArray[Any]) -> tuple[Ints, Ints]:
    """Return the row and the column (N, points) of the largest value of each map, the first of equal ones."""
    rows, columns = np.divmod(values.reshape(*values.shape[:2], -1).argmax(2), values.shape[3])
    return rows, columns


def _sides(values: NDArray[Any], places: tuple[Ints, Ints], least: int) -> NDArray[np.int64]:
    """Tell which cells lie ``least`` or more rows, and which columns, from a place: −1 or 1 by side, (2, *values)."""
    rows, columns = (np.arange(size) - place[..., None] for size, place in zip(values.shape[2:], places, strict=True))
    found = [np.sign(each) * (np.abs(each) >= least) for each in (rows, columns)]
    return np.stack(np.broadcast_arrays(found[0][..., :, None], found[1][..., None, :]))


def _at(values: NDArray[Any], places: tuple[Ints, Ints]) -> Floats:
    found: NDArray[Any] = values[(*np.ogrid[: values.shape[0], : values.shape[1]], *places)]
    return found.astype(np.float64)


def _place(values: NDArray[Any], peaks: tuple[Ints, Ints], axis: int, sigma: float) -> Floats:
    """Return the vertex along y (0) or x (1) of the parabola through a peak and its neighbours, in cells."""
    peak, last = peaks[axis], values.shape[2 + axis] - 1

    def log(step: int) -> Floats:
        beside = (peak + step).clip(0, last)
        places = (beside, peaks[1]) if axis == 0 else (peaks[0], beside)
        found: Floats = np.log(np.maximum(_at(values, places), LEAST))
        return found

    before, here, after = log(-1), log(0), log(1)
    # The second difference of a Gaussian's logarithm is −1 / σ².
    before, after = (
        np.where(peak > 0, before, 2 * here - after - 1 / sigma**2),
        np.where(peak < last, after, 2 * here - before - 1 / sigma**2),
    )
    bend = 2 * here - before - after
    offset = np.divide(after - before, 2 * bend, out=np.zeros_like(bend), where=bend > 0)
    return peak + 0.5 + offset.clip(-0.5, 0.5)
