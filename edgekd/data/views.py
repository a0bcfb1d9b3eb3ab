"""A fixed number of augmented views of each sample, the same in every epoch and batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgekd.data.augment import augment_with, draws_of, joining
from edgekd.errors import DataError

# SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (2014), figure 17.
GAMMA = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Views:
    """``count`` views of every sample, seen one after the other, epoch by epoch.

    Every sample has a generator of its own in every view, SplitMix64, whose seed is a hash of ``seed``, the view and
    the sample's index: draws need no table, and do not depend on the batch or the order in which samples come.

    Args:
        count: 1 or more.
        seed: another seed gives other views; taken modulo 2**64.

    Raises:
        DataError: ``count`` is below 1.
    """

    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise DataError(f"{self.count} views of each sample cannot be seen: give 1 or more")

    def of_epoch(self, epoch: int) -> int:
        """Return the number of the view that ``epoch``, counted from 0, sees."""
        return epoch % self.count

    def uniforms(self, view: int, indices: Tensor, draws: int) -> Tensor:
        """Draw (N, ``draws``) float64 in [0, 1), multiples of 2**-53, for :func:`edgekd.data.augment.augment_with`.

        Args:
            view: in [0, ``count``).
            indices: (N,), the samples' places in the training set.

        Raises:
            DataError: there is no such view.
        """
        if not 0 <= view < self.count:
            raise DataError(f"there is no view {view} among {self.count}, counted from 0: ask of_epoch for an epoch's")
        of_view = splitmix64(splitmix64(np.array([self.seed % 2**64], np.uint64), 0), view)
        states = splitmix64(of_view, indices.cpu().numpy().astype(np.uint64))
        bits = splitmix64(states[:, None], np.arange(draws, dtype=np.uint64)[None])
        return torch.from_numpy((bits >> np.uint64(11)) * 2.0**-53)

    def augment(self, images: Tensor, names: Sequence[str], view: int, indices: Tensor) -> Tensor:
        """Change ``images``, (N, C, H, W) uint8, the samples at ``indices``, to one of their views by ``names``.

        :func:`edgekd.data.augment.augment_samples` with :meth:`uniforms` moves targets along.

        Raises:
            DataError: there is no such view, or augmentation, or one puts images of a batch together.
        """
        if together := joining(names):
            raise DataError(
                f"{together[0]} puts images of one batch together, and fixed views are the same in any: leave out one "
                "of them"
            )
        return augment_with(images, names, self.uniforms(view, indices, draws_of(names)))


def splitmix64(states: np.ndarray, number: np.ndarray | int) -> np.ndarray:
    """Compute output ``number``, counted from 0, of the generators seeded by ``states``, uint64."""
    # At least one dimension: NumPy warns of scalars that wrap around.
    z = states + GAMMA * (np.atleast_1d(np.asarray(number, np.uint64)) + np.uint64(1))
    z = (z ^ (z >> np.uint64(30))) * FIRST
    z = (z ^ (z >> np.uint64(27))) * SECOND
    return z ^ (z >> np.uint64(31))
