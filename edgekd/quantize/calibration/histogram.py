"""Histogram of an activation's values in one pass, independent of the order of the batches."""

import math

import torch
from torch import Tensor

from edgekd.errors import ModelError

SMALLEST_EXPONENT = -100
CHUNK = 2**22


class Histogram:
    """Counts over ``bins`` bins of one width, half of them below zero.

    The width is a power of two and doubles until every value seen has a bin. Two neighbours then become one,
    and since their edges are edges of the wider bins too, the counts are those of a histogram that had its last
    width from the start.

    Args:
        bins: a power of two, at least 4. The bins that a tensor without negative values can use are
            a quarter to a half of these.

    >>> histogram = Histogram()
    >>> histogram.add(torch.tensor([0.0, 0.5, 3.0]))
    >>> histogram.low, histogram.high, histogram.total, histogram.zeros
    (0.0, 3.0, 3, 1)
    """

    def __init__(self, bins: int = 8192):
        if bins < 4 or bins & (bins - 1):
            raise ModelError(f"a histogram's bins must be a power of two of at least 4, got {bins}; try 8192")
        self.bins = bins
        self.counts = torch.zeros(bins, dtype=torch.int64)
        self.low, self.high = math.inf, -math.inf
        """The smallest and largest value, exact; infinite until something was added."""
        self.zeros = 0
        """Values that are exactly zero; they are in ``counts`` as well."""
        self._exponent = SMALLEST_EXPONENT

    @property
    def width(self) -> float:
        return 2.0**self._exponent

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    @property
    def bound(self) -> float:
        """Return the largest magnitude."""
        return max(-self.low, self.high)

    @property
    def edges(self) -> Tensor:
        """Return the edges of the bins, (bins + 1,) float64."""
        return (torch.arange(self.bins + 1, dtype=torch.float64) - self.bins // 2) * self.width

    @property
    def magnitudes(self) -> Tensor:
        """Return counts of |x|, from 0 upwards in steps of ``width``, (bins / 2,) int64."""
        half = self.bins // 2
        return self.counts[half:] + self.counts[:half].flip(0)

    def occupied(self) -> tuple[Tensor, Tensor]:
        """Return the centres of the occupied bins, and their counts; both float64."""
        occupied = self.counts > 0
        return (self.edges[:-1] + self.width / 2)[occupied], self.counts[occupied].double()

    def add(self, values: Tensor) -> None:
        """Count ``values``, of any shape, floating type and device.

        Raises:
            ModelError: some are NaN or infinite, as float32.
        """
        if values.numel() == 0:
            return
        flat = values.detach().flatten().float()
        low, high = (float(extreme) for extreme in torch.aminmax(flat))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ModelError(f"{_odd(flat)} among {flat.numel()} values")
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._widen()
        for chunk in flat.split(CHUNK):
            # scaling by a power of two is exact, so a value on an edge is counted above it
            index = torch.floor(chunk * (1 / self.width)).long() + self.bins // 2
            self.counts += torch.bincount(index, minlength=self.bins).cpu()
            self.zeros += int((chunk == 0).sum())

    def _widen(self) -> None:
        if self.bound == 0:
            return
        # bound = m·2^e with 0.5 <= m < 1 is below the upper edge, half of the bins times the width
        exponent = math.frexp(self.bound)[1] - (self.bins // 2).bit_length() + 1
        doublings = exponent - self._exponent
        if doublings <= 0:
            return
        half = self.bins // 2
        merged = ((torch.arange(self.bins) - half) >> min(doublings, 62)) + half
        self.counts = torch.zeros_like(self.counts).index_add_(0, merged, self.counts)
        self._exponent = exponent


def _odd(values: Tensor) -> str:
    nans, infinities = int(values.isnan().sum()), int(values.isinf().sum())
    return " and ".join(f"{count} {kind}" for count, kind in ((nans, "NaN"), (infinities, "infinite")) if count)
