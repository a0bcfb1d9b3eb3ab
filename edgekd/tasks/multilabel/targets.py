"""Labels of samples as users give them: for each sample a row of 0 and 1, −1 where a label is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

EXPECTED = "expected a row of 0 and 1 for each sample, a column for each label, and -1 where it is not known"


def read_targets(raw: NDArray[Any], count: int, where: str) -> Ints:
    """Return the labels (N, labels) of ``count`` samples, from an array that ``where`` names in messages.

    Raises:
        DataError: it is not a row of −1, 0 or 1 for each sample.
    """
    if raw.ndim != 2 or len(raw) != count or not raw.shape[1] or raw.dtype.kind not in "biu":
        hint = "; for one class per sample leave task out" if raw.shape == (count,) else ""
        raise DataError(
            f"{where} gives {count} samples and labels of shape {raw.shape} ({raw.dtype}); {EXPECTED}{hint}"
        )
    if wrong := sorted(set(np.unique(raw).tolist()) - {-1, 0, 1}):
        raise DataError(f"{where}: a label is {wrong[0]}; {EXPECTED}")
    return raw.astype(np.int64)


def numbered(labels: Ints, where: str) -> tuple[str, ...]:
    """Return names for labels that have none."""
    return tuple(map(str, range(labels.shape[1])))


def must_be_named(labels: Ints, names: Sequence[str], where: str) -> None:
    """Refuse labels that are not as many as their names: DataError."""
    if labels.shape[1] != len(names):
        raise DataError(f"{where} has rows of {labels.shape[1]} labels, and there are {len(names)} names of labels")


def must_be_learnable(labels: Ints, names: Sequence[str], where: object, advice: str) -> None:
    """Refuse training samples that leave a label without an example: DataError, with ``advice`` to get more."""
    if labels.ndim != 2:
        raise DataError(
            f"{where} gives one class for each sample, and the task is multilabel: give rows of 0 and 1 from a .npz or "
            "a function, or leave task out"
        )
    for value, having in ((1, "that has"), (0, "that lacks")):
        missing = next((name for name, rows in zip(names, labels.T, strict=True) if value not in rows), None)
        if missing is not None:
            raise DataError(
                f"{where}: there is no training sample {having} the label {missing!r}; "
                f"{advice or 'add some, or drop the label'}"
            )


def describe(row: Ints, names: Sequence[str]) -> str:
    """Return the labels of one sample for a message: 'a' and 'b'."""
    return " and ".join(repr(names[i]) for i in np.flatnonzero(row > 0).tolist()) or "of no label"
