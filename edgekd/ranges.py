"""Ranges of numeric arguments, checked where a caller comes in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from edgekd.errors import EdgekdError


@dataclass(frozen=True)
class Range:
    """Finite numbers between two bounds; ``open_low`` and ``open_high`` leave a bound itself out.

    >>> SHARE.check(ModelError, macs=0.5)
    >>> SHARE.check(ModelError, macs=1.5)
    Traceback (most recent call last):
    edgekd.errors.ModelError: macs must be a number above 0 and below 1, got 1.5
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    whole: bool = False

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, Integral if self.whole else Real):
            return False
        number: Any = value
        above = number > self.low if self.open_low else number >= self.low
        below = number < self.high if self.open_high else number <= self.high
        return bool(above and below and (isinstance(value, Integral) or math.isfinite(number)))

    def __str__(self) -> str:
        bounds = [
            *([f"{'above' if self.open_low else 'of at least'} {self.low}"] if self.low > -math.inf else []),
            *([f"{'below' if self.open_high else 'at most'} {self.high}"] if self.high < math.inf else []),
        ]
        return " ".join(["a whole number" if self.whole else "a finite number", *[" and ".join(bounds)]]).strip()

    def check(self, error: type[EdgekdError], **values: object) -> None:
        """Raise ``error`` if one of ``values``, by its argument's name, is not in the range; None passes."""
        for name, value in values.items():
            if value is not None and value not in self:
                raise error(f"{name} must be {self}, got {value!r}")


SHARE = Range(0, 1, open_low=True, open_high=True)
SHARE_OR_ALL = Range(0, 1, open_low=True)
SHARE_OR_NONE = Range(0, 1, open_high=True)
POSITIVE = Range(0, open_low=True)
NOT_NEGATIVE = Range(0)
COUNT = Range(1, whole=True)
SEED = Range(0, 2**63 - 1, whole=True)
