"""Masks as arrays and as pictures: an index of a class for each pixel, 255 where nothing is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.errors import DataError
from edgekd.folders import several
from edgekd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Masks = NDArray[np.uint8]

logger = get_logger(__name__)

# Pixels that no loss and no metric looks at, as Pascal VOC and Cityscapes have them.
IGNORED = 255
MOST_CLASSES = IGNORED
# A class of this name is black, as in Pascal VOC.
BACKGROUND = "background"
EXPECTED = "expected the index of a class for each pixel, (N, H, W), and 255 where a pixel is not to count"


def read_targets(raw: NDArray[Any], count: int, where: str) -> Masks:
    """Return the masks (N, H, W) of ``count`` images, uint8, from an array that ``where`` names in messages.

    Below 0 is not known, as 255 is.

    Raises:
        DataError: it is not a mask of whole numbers for each image.
    """
    if raw.ndim != 3 or len(raw) != count or not raw.size or raw.dtype.kind not in "biu":
        raise DataError(f"{where} gives {count} samples and masks of shape {raw.shape} ({raw.dtype}); {EXPECTED}")
    if raw.dtype == np.uint8:
        return raw
    if raw.max() > IGNORED:
        raise DataError(f"{where}: a pixel is {raw.max()}; {EXPECTED}")
    return np.where(raw < 0, IGNORED, raw).astype(np.uint8)


def numbered(masks: Masks, where: str) -> tuple[str, ...]:
    """Return names for the classes of masks that have none: DataError if no pixel is known."""
    known = masks[masks != IGNORED]
    if not known.size:
        raise DataError(f"{where}: no pixel of any mask is known; {EXPECTED}")
    return tuple(map(str, range(int(known.max()) + 1)))


def must_be_named(masks: Masks, names: Sequence[str], where: str) -> None:
    """Refuse masks with a class beyond their names, or more classes than a mask can hold: DataError."""
    if len(names) > MOST_CLASSES:
        raise DataError(f"{where} has {len(names)} classes; a mask holds up to {MOST_CLASSES}")
    wrong = np.argwhere((masks != IGNORED) & (masks >= len(names)))
    if len(wrong):
        index, y, x = wrong[0].tolist()
        raise DataError(
            f"{where}: mask {index} has the class {masks[index, y, x]} at x {x}, y {y}, and there are the classes 0 to "
            f"{len(names) - 1}: add its name, or write 255 where a pixel is not to count"
        )


def must_be_learnable(masks: Masks, names: Sequence[str], where: object, advice: str) -> None:
    """Refuse training masks without a known pixel: DataError, with ``advice`` to get more.

    Classes without one are logged: to leave one out would give those behind it other numbers.
    """
    if masks.ndim != 3:
        raise DataError(
            f"{where} gives targets of shape {masks.shape[1:]} for a sample, and the task is segmentation: {EXPECTED}"
        )
    missing = absent(masks, len(names))
    if len(missing) == len(names):
        raise DataError(f"{where}: no pixel of the training masks counts; {advice or 'add some'}")
    if missing:
        logger.warning(
            f"{where}: no pixel of the training masks is {several(repr(names[each]) for each in missing)}, so that "
            f"none can be found; {advice or 'add some'}"
        )


def absent(masks: Masks, count: int) -> list[int]:
    """Return the classes that no pixel of ``masks`` has."""
    counts = np.zeros(IGNORED + 1, np.int64)
    for mask in masks:
        counts += np.bincount(mask.ravel(), minlength=len(counts))
    return np.flatnonzero(counts[:count] == 0).tolist()


def describe(mask: Masks, names: Sequence[str]) -> str:
    """Return the classes of one mask for a message: 'sky' and 'road'."""
    found = [each for each in np.unique(mask).tolist() if each < len(names)]
    return " and ".join(repr(names[each]) for each in found) or "of no known pixel"


def resized(masks: NDArray[Any], size: tuple[int, ...]) -> NDArray[Any]:
    """Return masks (N, H, W) of ``size``, height and width, each pixel the nearest one before."""
    if masks.shape[1:] == tuple(size):
        return masks
    rows, columns = (
        ((np.arange(after) + 0.5) * before / after).astype(np.int64)
        for before, after in zip(masks.shape[1:], size, strict=True)
    )
    found: NDArray[Any] = masks[:, rows[:, None], columns]
    return found


def palette(names: Sequence[str]) -> NDArray[np.uint8]:
    """Return a colour (256, 3) for each index of a class, as Pascal VOC has them; white where a pixel is not known.

    A first class that is not called background has a colour too, that of VOC's next index, and so on.
    """
    colours = np.zeros((IGNORED + 1, 3), np.uint8)
    first = 0 if names and names[0].strip("_ ").lower() == BACKGROUND else 1
    for index in range(len(names)):
        bits = np.unpackbits(np.array([index + first], np.uint8))[::-1]
        for channel in range(3):
            colours[index, channel] = sum(int(bit) << (7 - place) for place, bit in enumerate(bits[channel::3]))
    colours[IGNORED] = 255
    return colours


def png(mask: Masks, names: Sequence[str]) -> bytes:
    """Return a mask (H, W) of the classes ``names`` as a PNG of indices with :func:`palette`."""
    from io import BytesIO

    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(mask))
    image.putpalette(palette(names).tobytes())
    written = BytesIO()
    image.save(written, "PNG", optimize=True)
    return written.getvalue()
