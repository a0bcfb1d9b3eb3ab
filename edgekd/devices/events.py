"""What a device sends, held against what it can have meant: it may be broken, set wrong, or somebody else's."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DeviceError, first_line

DAY_NS = 86_400 * 10**9
DAY_S = 86_400.0


class AnswerError(DeviceError):
    """What a device sent cannot be: none of its answers counts."""


@contextmanager
def answers_of(device: str) -> Iterator[None]:
    """Turn what goes wrong while an answer of ``device`` is read into an :class:`AnswerError`."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        reason = first_line(error) if type(error) is ValueError else f"{type(error).__name__}: {first_line(error)}"
        raise AnswerError(
            f"{device} sent an answer that cannot be ({reason[:200]}); none of its answers is used: is its clock set, "
            "and are its Python and ONNX Runtime sound?"
        ) from error


def number(value: object, what: str, low: float = 0.0, high: float = math.inf) -> float:
    """Return ``value`` if it is a finite number in ``[low, high]``; ValueError names ``what`` where it is not."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not known or not low <= value <= high:  # type: ignore[operator]
        raise ValueError(f"{what} is {short(value)}")
    return float(value)  # type: ignore[arg-type]


def whole(value: object, what: str, low: int = 0, high: int = 2**62) -> int:
    """Return ``value`` if it is an integer in ``[low, high]``; ValueError names ``what`` where it is not."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{what} is {short(value)}")
    return value


def text(value: object, what: str) -> str:
    """Return ``value`` if it is text; ValueError names ``what`` where it is not."""
    if not isinstance(value, str):
        raise ValueError(f"{what} is {short(value)}")
    return value


def nanoseconds(values: object) -> NDArray[np.int64]:
    """Return the times ``values``, each between one nanosecond and a day."""
    if not isinstance(values, list) or not values:
        raise ValueError(f"a list of times is {short(values)}")
    return np.array([whole(value, "a time in nanoseconds", 1, DAY_NS) for value in values], np.int64)


def short(value: object) -> str:
    return repr(value)[:40]
