"""The most probable classes or labels of a sample, best first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgekd.strict_json import JsonObject

NOT_FINITE = "no prediction, its outputs are not finite"


class Ranked(NamedTuple):
    """A class or label, and its probability in [0, 1]."""

    label: str
    probability: float


@dataclass(frozen=True)
class MostProbable:
    """The ``best`` classes or labels; fewer than ``places`` where probabilities are NaN."""

    best: tuple[Ranked, ...]
    places: int

    @classmethod
    def of(cls, probabilities: NDArray[Any], names: Sequence[str], top: int) -> MostProbable:
        """Return the ``top`` best by their ``probabilities`` (classes,) or (labels,)."""
        import numpy as np

        order = np.argsort(-probabilities, kind="stable")[:top].tolist()
        known = (Ranked(names[each], float(probabilities[each])) for each in order)
        return cls(tuple(each for each in known if each.probability == each.probability), len(order))

    def to_json(self) -> list[JsonObject]:
        return [each._asdict() for each in self.best]

    def to_text(self) -> str:
        """Return ``left 66.2 %, dark 24.6 %``."""
        from edgekd.formatting import percent

        return ", ".join(f"{each.label} {percent(each.probability)}" for each in self.best) or NOT_FINITE

    def to_cells(self) -> dict[str, str]:
        """Return cells of CSV by their columns: ``label``, ``probability``, ``label_2`` and so on."""
        cells = {}
        for place in range(self.places):
            label, probability = self.best[place] if place < len(self.best) else ("", None)
            suffix = f"_{place + 1}" if place else ""
            cells[f"label{suffix}"] = label
            cells[f"probability{suffix}"] = "" if probability is None else f"{probability:.6f}"
        return cells
