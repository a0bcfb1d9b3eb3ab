"""Stored targets: what all tasks refuse, and those that are whole numbers and do not move with images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from edgekd.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgekd.geometry import Geometry

    Ints = NDArray[np.int64]

# NumPy is imported where it is used, as in :mod:`edgekd.tasks.metric`.


def must_have_known(known: NDArray[np.bool_], part: str, where: object) -> None:
    """Refuse samples (N,) of a ``part`` none of which has a target that is known: DataError."""
    if not known.any():
        raise nothing_to_measure(f"of no {part} sample the target is known", part, where)


def nothing_to_measure(why: str, part: str, where: object) -> DataError:
    """Make the error for validation or test samples by which no network can be judged."""
    advice = ", or raise data.validation" if part == "validation" else ""
    return DataError(f"{where}: {why}, so that nothing can be measured: add some{advice}")


class WholeNumbers(ABC):
    """The methods of a :class:`~edgekd.tasks.task.Task` whose targets are whole numbers, negative where not known."""

    @classmethod
    @abstractmethod
    def known(cls, stored: NDArray[Any]) -> NDArray[np.bool_]: ...

    @classmethod
    def must_be_measurable(cls, stored: Ints, part: str, where: object) -> None:
        must_have_known(cls.known(stored), part, where)

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
