"""Values of samples as users give them: a number or a row of numbers for each sample, NaN where one is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.errors import DataError
from edgekd.formatting import significant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Values = NDArray[np.float32]

EXPECTED = "expected a number for each sample, or a row of numbers, a column for each value"


def read_targets(raw: NDArray[Any], count: int, where: str) -> Values:
    """Return the values (N, values) of ``count`` samples, from an array that ``where`` names in messages.

    Raises:
        DataError: it is not a number or a row of numbers for each sample, or nothing is known of a sample.
    """
    if raw.ndim not in (1, 2) or len(raw) != count or not raw[:1].size or raw.dtype.kind not in "biuf":
        raise DataError(f"{where} gives {count} samples and targets of shape {raw.shape} ({raw.dtype}); {EXPECTED}")
    return must_be_known(raw.reshape(count, -1), where)


def must_be_known(rows: NDArray[Any], where: str) -> Values:
    """Return targets (N, ...) in float32, of each of which something is known, and nothing infinite: DataError."""
    with np.errstate(over="ignore"):
        found = rows.astype(np.float32)
    flat = found.reshape(len(found), -1)
    for wrong, what, advice in (
        (np.isinf(flat).any(1), "no finite float32", "replace it, or drop the row"),
        (np.isnan(flat).all(1), "nothing but NaN", "drop the row; images without targets go into data.unlabelled"),
    ):
        if wrong.any():
            first, count = int(wrong.argmax()), int(wrong.sum())
            more = f", the first of {count}" if count > 1 else ""
            shown = ", ".join(f"{value:g}" for value in rows.reshape(len(rows), -1)[first][:4].tolist())
            raise DataError(f"{where}: row {first} (from 0{more}) is {shown}, {what}; {advice}")
    return found


def numbered(values: Values) -> tuple[str, ...]:
    """Return names for values that have none."""
    return ("value",) if values.shape[1] == 1 else tuple(f"value {number}" for number in range(values.shape[1]))


def must_be_named(values: Values, names: Sequence[str], where: str) -> None:
    """Refuse values that are not as many as their names: DataError."""
    if values.shape[1] != len(names):
        raise DataError(f"{where} has {values.shape[1]} targets in a row, and there are {len(names)} names of them")


def must_be_learnable(values: Values, names: Sequence[str], where: object, advice: str) -> None:
    """Refuse training targets of which one never differs: DataError, with ``advice`` to get more."""
    if values.dtype.kind != "f":
        raise DataError(
            f"{where} gives one class for each sample, and the task is regression: give numbers from a .npz or a "
            "function, or leave task out"
        )
    flat = values.reshape(len(values), len(names), -1)
    for name, own in zip(names, flat.transpose(1, 0, 2), strict=True):
        if not len(known := own[~np.isnan(own)]) or known.min() == known.max():
            found = f"always {known[0]:g}" if len(known) else "never known"
            raise DataError(f"{where}: {name!r} is {found} in training; {advice or 'add other samples, or drop it'}")


def must_have_scale(values: Values, names: Sequence[str]) -> None:
    """Refuse training targets of which one is never known, as when validation samples have the only ones: DataError."""
    unknown = np.isnan(values.reshape(len(values), len(names), -1)).all((0, 2))
    if unknown.any():
        raise DataError(
            f"{names[int(unknown.argmax())]!r} is not known of one sample that is left for training: give more samples "
            "with it, or lower data.validation"
        )


def scale_of(values: Values) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of each value's known targets, to six digits: the same on every machine."""
    wide = values.reshape(len(values), -1).astype(np.float64)
    mean, deviation = np.nanmean(wide, 0), np.nanstd(wide, 0)
    found = (tuple(float(f"{each:.6g}") for each in part) for part in (mean, np.where(deviation > 0, deviation, 1.0)))
    return next(found), next(found)


def has_any(values: Values) -> NDArray[np.bool_]:
    """Return which samples (N,) have a value that is known."""
    found: NDArray[np.bool_] = np.isfinite(values.reshape(len(values), -1)).sum(1) > 0
    return found


def unknown(like: Values, count: int) -> Values:
    """Return NaN for all values of ``count`` samples."""
    return np.full((count, *like.shape[1:]), np.nan, np.float32)


def describe(row: Values) -> str:
    """Return the values of one sample for a message: 39 and 1.2."""
    return " and ".join("unknown" if value != value else significant(value) for value in row.ravel().tolist())
