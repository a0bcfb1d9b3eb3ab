"""Validation of what a device sends: it may be broken, misconfigured, or not the device that it claims to be."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DeviceError, first_line

# An object of JSON that the agent sent, not yet checked.
Event = Mapping[str, Any]

DAY_NS = 86_400 * 10**9
DAY_S = 86_400.0


class ResponseError(DeviceError):
    """A response that cannot be valid: nothing that the device sent is used."""


@contextmanager
def reading_response(device: str) -> Iterator[None]:
    """Turn errors while a response of ``device`` is read into a :class:`ResponseError`."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        reason = first_line(error) if type(error) is ValueError else f"{type(error).__name__}: {first_line(error)}"
        raise ResponseError(
            f"{device} sent an invalid response ({reason[:200]}), and nothing that it sent is used: is its clock "
            "set, and are its Python and the runtime intact?"
        ) from error


def number(value: object, what: str, low: float = 0.0, high: float = math.inf) -> float:
    """Return ``value`` if it is a finite number in ``[low, high]``; ValueError names ``what`` where it is not."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not known or not low <= value <= high:  # type: ignore[operator]
        raise ValueError(f"{what} is {short(value)}")
    return float(value)  # type: ignore[arg-type]


def integer(value: object, what: str, low: int = 0, high: int = 2**62) -> int:
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
    return np.array([integer(value, "a time in nanoseconds", 1, DAY_NS) for value in values], np.int64)


def short(value: object) -> str:
    return repr(value)[:40]
