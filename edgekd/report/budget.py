"""The budget: what was promised, what was measured, and whether it is met."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from edgekd.bench.energy import NO_SENSOR
from edgekd.bench.validity import INVALIDATING, POWER_OF_OTHERS
from edgekd.errors import RecipeError
from edgekd.formatting import exceeds, places_for, significant, stands_apart
from edgekd.nearest import among
from edgekd.report.paired import Placed, difference
from edgekd.report.schema import Check, Row
from edgekd.tasks.metric import Metric

DROP = "_drop"

# Of the student's row and the teacher's.
Measure = Callable[[Row, Row], float | None]
Interval = Callable[[Row, Row], tuple[float, float] | None]
Remark = Callable[[Row], str | None]


class Promise(NamedTuple):
    """A promise of the budget; ``interval`` gives the 95 % interval of ``measure``, if it has one.

    ``note`` says how the figure is to be read, or why there is none.
    """

    unit: str
    measure: Measure
    interval: Interval = lambda student, teacher: None
    note: Remark = lambda student: None


def drop_of(metric: Metric, folder: Path | None) -> Promise:
    """Return the promise that a metric gets no worse than so much, in its unit of differences.

    The interval is None where what the rows keep of the samples, in files of ``folder``, cannot be compared in pairs.
    """

    def measure(student: Row, teacher: Row) -> float | None:
        before, after = teacher.figure(metric), student.figure(metric)
        return None if before is None or after is None else metric.scale * metric.drop(before, after)

    def interval(student: Row, teacher: Row) -> tuple[float, float] | None:
        found = difference(metric, Placed(teacher, folder), Placed(student, folder))
        if found is None:
            return None
        low, high = (metric.scale * end for end in found.interval)
        digits = places_for(max(abs(low), abs(high)), 6)
        return round(low, digits), round(high, digits)

    return Promise(metric.unit_of_differences, measure, interval)


def size_ratio(student: Row, teacher: Row) -> float | None:
    if student.size_bytes is None or not teacher.size_bytes:
        return None
    return student.size_bytes / teacher.size_bytes


def size_mb(student: Row, teacher: Row) -> float | None:
    return None if student.size_bytes is None else student.size_bytes / 1e6


def latency_ms(student: Row, teacher: Row) -> float | None:
    """Return the cost: a budget asks what the network takes there, not what else ran while it was measured."""
    return student.own_ms.p50 if student.own_ms and student.valid else None


def latency_ratio(student: Row, teacher: Row) -> float | None:
    """Return the interleaved ratio of costs; two times that were measured apart are no comparison."""
    return student.latency_vs_teacher.ratio if student.latency_vs_teacher and student.valid else None


def energy_mj(student: Row, teacher: Row) -> float | None:
    return student.energy_mj if student.valid else None


def why_not_valid(student: Row) -> str | None:
    """Say why a time that was taken does not count, with the way out."""
    reasons = dict.fromkeys(each.message for each in student.warnings if each.code in INVALIDATING)
    return None if student.valid else "; ".join(reasons) or None


def note_on_cost(student: Row) -> str | None:
    """Say why the cost does not count, or how much longer an inference took beside other processes."""
    if not student.valid or not (student.cost_ms and student.latency_ms):
        return why_not_valid(student)
    cost, latency = student.cost_ms.p50, student.latency_ms.p50
    if not stands_apart(cost, latency):
        return None
    return f"the cost of an inference, which took {significant(latency)} ms beside other processes"


def note_on_energy(student: Row) -> str | None:
    """Say why there is no energy where times were taken, with the way out."""
    if not student.valid or student.latency_ms is None or student.energy_mj is not None:
        return why_not_valid(student)
    return next((each.message for each in student.warnings if each.code == POWER_OF_OTHERS), NO_SENSOR)


PROMISES: dict[str, Promise] = {
    "latency_ratio": Promise("× teacher", latency_ratio, note=why_not_valid),
    "latency_ms": Promise("ms", latency_ms, note=note_on_cost),
    "size_mb": Promise("MB", size_mb),
    "size_ratio": Promise("× teacher", size_ratio),
    "energy_mj": Promise("mJ", energy_mj, note=note_on_energy),
}


def check(
    bounds: Mapping[str, float], student: Row, teacher: Row, metrics: Sequence[Metric], folder: Path | None = None
) -> list[Check]:
    """Check each promise of the budget, in the order of ``bounds``.

    Args:
        bounds: ``METRIC_drop`` in the metric's unit of differences (1.0 of accuracy is one percentage point),
            ``size_mb`` in 10^6 bytes, ``latency_ms`` the median cost of an inference, ``energy_mj`` its energy, and
            ratios of student over teacher.
        metrics: the task's.
        folder: of the report, for evidence in files.

    Returns:
        What was measured, and whether it is within its bound; what was not measured is not met, nor is a time of a
        measurement that is not valid.

    Raises:
        RecipeError: a bound is of no known promise.
    """
    promises = {**{f"{metric.name}{DROP}": drop_of(metric, folder) for metric in metrics}, **PROMISES}
    return [_check(name, bound, _find(promises, name), student, teacher) for name, bound in bounds.items()]


def _find(promises: Mapping[str, Promise], name: str) -> Promise:
    if name not in promises:
        raise RecipeError(f"budget: unknown key {name!r}{among(name, promises)}")
    return promises[name]


def _check(name: str, bound: float, promise: Promise, student: Row, teacher: Row) -> Check:
    value = promise.measure(student, teacher)
    interval = promise.interval(student, teacher) if value is not None else None
    return Check(
        name=name,
        bound=bound,
        value=None if value is None else _plain(value),
        unit=promise.unit,
        met=value is not None and not exceeds(value, bound),
        ci95=interval,
        n=student.n if interval else None,
        note=promise.note(student),
    )


def _plain(value: float) -> float:
    """Without the last digits, which are those of binary fractions: 100 * (0.98 - 0.97) is 1."""
    return float(f"{value:.12g}")
