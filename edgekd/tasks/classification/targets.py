"""Classes of samples as users give them: one whole number for each sample, from 0."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]


def read_targets(raw: NDArray[Any], count: int, where: str) -> Ints:
    """Return the classes (N,) of ``count`` samples, from an array that ``where`` names in messages.

    Raises:
        DataError: it is not one whole number for each sample, from 0.
    """
    if raw.ndim != 1 or len(raw) != count or raw.dtype.kind not in "biu":
        raise DataError(
            f"{where} gives {count} samples and labels of shape {raw.shape} ({raw.dtype}); "
            f"expected one whole number per sample{_hint(raw, count)}"
        )
    smallest, largest = int(raw.min()), int(raw.max())
    if smallest < 0:
        raise DataError(f"{where}: labels start at 0, the smallest is {smallest}")
    if largest >= 1 << 31:
        raise DataError(f"{where}: a label is {largest}: labels number the classes from 0, without gaps")
    return raw.astype(np.int64)


def numbered(classes: Ints, where: str) -> tuple[str, ...]:
    """Return names for classes that have none; each needs samples of its own, so there are no more than samples."""
    count = int(classes.max()) + 1
    if count > len(classes):
        raise DataError(
            f"{where}: the largest label is {count - 1}, and there are {len(classes)} training samples: labels number "
            "the classes from 0, without gaps"
        )
    return tuple(map(str, range(count)))


def must_be_named(classes: Ints, names: Sequence[str], where: str) -> None:
    """Refuse a class without a name: DataError."""
    if int(classes.max()) >= len(names):
        raise DataError(f"{where}: a label is {int(classes.max())}, but there are {len(names)} classes (0 first)")


def must_be_learnable(classes: Ints, names: Sequence[str], where: object, advice: str) -> None:
    """Refuse training samples from which classes cannot be told apart: DataError, with ``advice`` to get more."""
    if classes.ndim != 1:
        raise DataError(f"{where} gives labels of shape {classes.shape}; expected one class for each sample")
    if len(names) < 2:
        raise DataError(f"{where} has one class only ({names[0]}): there is nothing to tell apart; add another")
    counts = np.bincount(classes, minlength=len(names)).tolist()
    scarce = next((name for name, n in zip(names, counts, strict=True) if n < 2), None)
    if scarce is not None:
        raise DataError(
            f"{where}: class {scarce!r} has fewer than two training samples; {advice or 'add more, or drop the class'}"
        )


def _hint(labels: NDArray[Any], count: int) -> str:
    if labels.ndim == 2 and len(labels) == count:
        if labels.shape[1] == 1:
            return ": take column 0"
        return ": of one-hot rows, argmax(1) gives it; for any number of labels per sample set task: multilabel"
    if labels.dtype.kind == "f" and labels.shape == (count,):
        whole = bool(np.isfinite(labels).all()) and all(math.floor(value) == value for value in labels[:1000])
        return ": save them as integers" if whole else ", without fractions or NaN"
    return ""
