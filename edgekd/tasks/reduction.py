"""The part of a network's outputs that a device sends, and the outputs that it stands for. NumPy alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

# A logit so far below any threshold that nothing is there.
NOTHING = -1e4


@dataclass(frozen=True)
class PositionRule:
    """A position counts where one of its logits is above ``bound``.

    Attributes:
        output: holds the logits, in its channels from ``first`` on.
        softmax: one of all channels holds, and a logit is less the largest of them.
    """

    output: str
    bound: float
    first: int = 0
    softmax: bool = False


@dataclass(frozen=True)
class PositionGroup:
    """Outputs with the same positions, of which those count where all ``rules`` hold; all where there is none."""

    outputs: tuple[str, ...]
    rules: tuple[PositionRule, ...] = ()


@dataclass(frozen=True)
class OutputReduction:
    """Describe what a device sends, by the names of :mod:`edgekd.agent.reductions`.

    Of ``peaks`` and ``positions`` it sends some values of an output, and in the place of others stands what decoding
    makes nothing of: the lowest of floats in heat maps, and elsewhere logits of :data:`NOTHING` and places of 0.

    Attributes:
        groups: of ``positions``.
    """

    kind: Literal["all", "classes", "peaks", "positions"]
    groups: tuple[PositionGroup, ...] = ()

    def needed(self, outputs: Collection[str]) -> list[str]:
        """Return those of a network's outputs that are decoded, by name."""
        return [name for group in self.groups for name in group.outputs] or list(outputs)

    def channels(self, shape: Sequence[int]) -> int:
        """Return how many values of an output of ``shape``, of one sample, are sent together."""
        if self.kind == "peaks":
            return 1
        return shape[0] if len(shape) == 3 else shape[-1]

    def whole(
        self, output: str, shape: Sequence[int], count: int, places: NDArray[Any], values: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return an output (count, *shape) of which ``values`` (K, channels) at ``places`` (K,) were sent.

        Raises:
            ValueError: there is no such place.
        """
        channels = self.channels(shape)
        positions = math.prod(shape) // channels
        if len(places) and not 0 <= places.min() <= places.max() < count * positions:
            raise ValueError(f"a value of none of {count * positions} positions of the output {output!r}")
        table = np.full((count * positions, channels), self._elsewhere(output, channels), np.float32)
        table[places] = values
        if self.kind == "peaks" or len(shape) != 3:
            return table.reshape(count, *shape)
        maps = table.reshape(count, positions, channels).transpose(0, 2, 1)
        return np.ascontiguousarray(maps).reshape(count, *shape)

    def _elsewhere(self, output: str, channels: int) -> NDArray[np.float32]:
        if self.kind == "peaks":
            return np.full(channels, np.finfo(np.float32).min, np.float32)
        rule = next((each for group in self.groups for each in group.rules if each.output == output), None)
        first = channels if rule is None else rule.first
        return np.where(np.arange(channels) < first, 0, NOTHING).astype(np.float32)
