"""The budget: what was promised, what was measured, and whether it holds."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from edgekd.errors import RecipeError
from edgekd.registry import nearest
from edgekd.report.schema import Check, Row

Measure = Callable[[Row, Row], float | None]


class Promise(NamedTuple):
    unit: str
    measure: Measure


def accuracy_drop(student: Row, teacher: Row) -> float | None:
    if student.accuracy is None or teacher.accuracy is None:
        return None
    return 100 * (teacher.accuracy - student.accuracy)


def size_ratio(student: Row, teacher: Row) -> float | None:
    if student.size_bytes is None or not teacher.size_bytes:
        return None
    return student.size_bytes / teacher.size_bytes


def size_mb(student: Row, teacher: Row) -> float | None:
    return None if student.size_bytes is None else student.size_bytes / 1e6


def latency_ms(student: Row, teacher: Row) -> float | None:
    return student.latency_ms.p50 if student.latency_ms else None


def latency_ratio(student: Row, teacher: Row) -> float | None:
    """Only the interleaved ratio counts: two times measured apart are not a comparison."""
    return student.latency_vs_teacher.ratio if student.latency_vs_teacher else None


PROMISES: dict[str, Promise] = {
    "accuracy_drop": Promise("points", accuracy_drop),
    "latency_ratio": Promise("× teacher", latency_ratio),
    "latency_ms": Promise("ms", latency_ms),
    "size_mb": Promise("MB", size_mb),
    "size_ratio": Promise("× teacher", size_ratio),
}


def check(budget: Mapping[str, float | None], student: Row, teacher: Row) -> list[Check]:
    """One :class:`Check` per promise of ``budget``, in its order; an absent bound is no promise.

    ``accuracy_drop`` is in points (1.0 is one percentage point), ``size_mb`` in 10^6 bytes, ``latency_ms``
    the median, ratios are student over teacher. What was not measured is not met.
    """
    checks = []
    for name, bound in budget.items():
        if name not in PROMISES:
            raise RecipeError(f"budget: unknown key {name!r}{nearest(name, PROMISES)}; known: {', '.join(PROMISES)}")
        if bound is None:
            continue
        unit, measure = PROMISES[name]
        value = measure(student, teacher)
        if value is not None:
            value = round(value, 9)  # 100 * (0.98 - 0.97) is a hair above 1
        met = value is not None and value <= bound
        checks.append(Check(name=name, bound=bound, value=value, unit=unit, met=met))
    return checks
