"""The budget: what was promised, what was measured, and whether it is met."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from edgekd.errors import RecipeError
from edgekd.formatting import exceeds
from edgekd.registry import nearest
from edgekd.report.schema import Check, Row
from edgekd.stats.correct import decode_correct
from edgekd.stats.paired import drop_interval

# Of the student's row and the teacher's.
Measure = Callable[[Row, Row], float | None]
Interval = Callable[[Row, Row], tuple[float, float] | None]


class Promise(NamedTuple):
    """A promise of the budget; ``interval`` gives the 95 % interval of ``measure``, if it has one."""

    unit: str
    measure: Measure
    interval: Interval = lambda student, teacher: None


def accuracy_drop(student: Row, teacher: Row) -> float | None:
    """Return the drop in points: 1.0 is one percentage point."""
    """Return the drop in points: 1.0 is one percentage point."""
    if student.accuracy is None or teacher.accuracy is None:
        return None
    return 100 * (teacher.accuracy - student.accuracy)


def accuracy_drop_interval(student: Row, teacher: Row) -> tuple[float, float] | None:
    """Return the 95 % interval of the drop in points, or None if the predictions were not kept."""
    before, after = (decode_correct(row.right, row.n) for row in (teacher, student))
    if not before or not after or len(before) != len(after):
        return None
    pairs = list(zip(before, after, strict=True))
    low, high = drop_interval(pairs.count((True, False)), pairs.count((False, True)), len(pairs))
    return round(100 * low, 6), round(100 * high, 6)


def size_ratio(student: Row, teacher: Row) -> float | None:
    if student.size_bytes is None or not teacher.size_bytes:
        return None
    return student.size_bytes / teacher.size_bytes


def size_mb(student: Row, teacher: Row) -> float | None:
    return None if student.size_bytes is None else student.size_bytes / 1e6


def latency_ms(student: Row, teacher: Row) -> float | None:
    return student.latency_ms.p50 if student.latency_ms else None


def latency_ratio(student: Row, teacher: Row) -> float | None:
    """Return the interleaved ratio; two times that were measured apart are no comparison."""
    return student.latency_vs_teacher.ratio if student.latency_vs_teacher else None


PROMISES: dict[str, Promise] = {
    "accuracy_drop": Promise("points", accuracy_drop, accuracy_drop_interval),
    "latency_ratio": Promise("× teacher", latency_ratio),
    "latency_ms": Promise("ms", latency_ms),
    "size_mb": Promise("MB", size_mb),
    "size_ratio": Promise("× teacher", size_ratio),
}


def check(budget: Mapping[str, float | None], student: Row, teacher: Row) -> list[Check]:
    """Check each promise of ``budget``, in its order; None is no promise.

    ``accuracy_drop`` is in points (1.0 is one percentage point), ``size_mb`` in 10^6 bytes, ``latency_ms`` the median,
    and ratios are student over teacher. A promise whose value was not measured is not met.

    Raises:
        RecipeError: the budget has an unknown key.
    """
    checks = []
    for name, bound in budget.items():
        if name not in PROMISES:
            raise RecipeError(f"budget: unknown key {name!r}{nearest(name, PROMISES)}; known: {', '.join(PROMISES)}")
        if bound is None:
            continue
        promise = PROMISES[name]
        value = promise.measure(student, teacher)
        met = value is not None and not exceeds(value, bound)
        interval = promise.interval(student, teacher) if value is not None else None
        checks.append(
            Check(
                name=name,
                bound=bound,
                value=None if value is None else _plain(value),
                unit=promise.unit,
                met=met,
                ci95=interval,
                n=student.n if interval else None,
            )
        )
    return checks


def _plain(value: float) -> float:
    """Without the last digits, which are those of binary fractions: 100 * (0.98 - 0.97) is 1."""
    return float(f"{value:.12g}")
