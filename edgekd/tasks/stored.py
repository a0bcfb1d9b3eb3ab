"""Stored targets that are whole numbers, negative where nothing is known, and do not move with images."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgekd.geometry import Geometry

    Ints = NDArray[np.int64]

# NumPy is imported where it is used, as in :mod:`edgekd.tasks.metric`.


class WholeNumbers:
    """The methods of a :class:`~edgekd.tasks.task.Task` that need to know no more of its targets than this."""

    @classmethod
    def unknown(cls, like: Ints, count: int) -> Ints:
        import numpy as np

        return np.full((count, *like.shape[1:]), -1, np.int64)

    @classmethod
    def contradict(cls, ours: Ints, theirs: Ints) -> bool:
        return bool(((ours >= 0) & (theirs >= 0) & (ours != theirs)).any())

    def move_targets(self, stored: Ints, geometry: Geometry) -> Ints:
        return stored

    def must_fit(self, stored: Ints, size: tuple[int, int], where: str) -> None:
        return
