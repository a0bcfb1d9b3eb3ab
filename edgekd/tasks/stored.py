"""Stored targets that are whole numbers, negative where nothing is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

# NumPy is imported where it is used, as in :mod:`edgekd.tasks.metric`.


def negative(like: Ints, count: int) -> Ints:
    """Return −1 for all that there is to know of ``count`` samples."""
    import numpy as np

    return np.full((count, *like.shape[1:]), -1, np.int64)


def contradict_where_known(ours: Ints, theirs: Ints) -> bool:
    """Return whether two samples' targets differ where both are known."""
    return bool(((ours >= 0) & (theirs >= 0) & (ours != theirs)).any())
