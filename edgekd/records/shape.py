"""The shape of a report and a baseline: types, ranges, and order where there is one."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from edgekd.errors import EdgekdError
from edgekd.formatting import exceeds
from edgekd.records.readers import (
    Malformed,
    Reader,
    all_of,
    anything,
    brief,
    count,
    flag,
    holds,
    interval,
    named,
    number,
    one_of,
    path,
    several,
    sha256,
    table,
    text,
    under,
)
from edgekd.records.rows import task_of
from edgekd.tasks.metric import Metric
from edgekd.tasks.registry import TASKS

PERCENTILES = ("min", "p50", "p90", "p95", "p99")
ROLES = ("teacher", "student", "ensemble")


def ascending(value: Mapping[str, Any], key: str) -> None:
    """Check that percentiles ascend, each within its interval."""
    known = [name for name in PERCENTILES if value.get(name) is not None]
    for lower, upper in pairwise(known):
        if exceeds(value[lower], value[upper]):
            raise Malformed(under(key, upper), f"{value[upper]} is below {lower}, which is {value[lower]}")
    for name in known:
        holds(name, f"ci95_{name}")(value, key)


def met_if_within(value: Mapping[str, Any], key: str) -> None:
    """Check that a promise of the budget is met exactly if its value is within its bound."""
    figure, bound, met = value.get("value"), value["bound"], value["met"]
    if met != (figure is not None and not exceeds(figure, bound)):
        said = "met" if met else "not met"
        raise Malformed(under(key, "met"), f"{figure} is said to be {said}, and the bound is {bound}")


def met_if_all(value: Mapping[str, Any], key: str) -> None:
    """Check that the budget is met exactly if all its checks are."""
    if value["met"] != all(check["met"] for check in value["checks"]):
        raise Malformed(under(key, "met"), f"it is said to be {value['met']}, and its checks say otherwise")


SHARE, POSITIVE = number(0, 1), number(above=0)
RATIO = {"ratio": POSITIVE, "ci95": interval(POSITIVE), "valid": flag}
TIMES = {
    **dict.fromkeys((*PERCENTILES, "mean"), POSITIVE),
    **dict.fromkeys((f"ci95_{name}" for name in PERCENTILES), interval(POSITIVE)),
    "n": count,
}
COST = table(
    {
        **{"p50": POSITIVE, "ci95_p50": interval(POSITIVE), "rounds": count, "of": count},
        **{"taken": number(0), "real_time": flag},
    },
    ("p50", "rounds", "of", "taken"),
    holds("p50", "ci95_p50"),
)
FIGURES: dict[str, Reader] = {
    "device": text,
    "runtime": text,
    "threads": count,
    "built_for": text,
    "built_for_device": text,
    "emulates": text,
    "n": count,
    "right": text,
    "evidence": table({"file": path, "sha256": sha256}, ("file", "sha256")),
    "file_sha256": sha256,
    "size_bytes": count,
    "params": count,
    "macs": count,
    "precision": text,
    "operators": named(count),
    "int8_coverage": SHARE,
}
NOTES = several(table({"code": text, "message": text}, ("code", "message")))
CHECK = table(
    {
        "name": text,
        "bound": number(),
        "value": number(),
        "unit": text,
        "met": flag,
        "ci95": interval(number()),
        "note": text,
    },
    ("name", "bound", "unit", "met"),
    met_if_within,
)
FACTS = table({"python": named(anything)})
TARGET = ("name", "device", "runtime", "processor", "profile", "precision")
OF_TEACHER = ("file_sha256", "size_bytes", "params", "macs", "precision")


def report(value: Any, key: str) -> None:
    """Check a report, whose rows have the metrics of its task."""
    rows = several(_row(_metrics(value, key)))
    data = {"name": text, "fingerprint": text, "classes": several(text), "train": count, "validation": count}
    fields = {
        "name": text,
        "recipe_sha256": text,
        "command": text,
        "decoder": named(number()),
        "rows": rows,
        "targets": several(table({**dict.fromkeys((*TARGET, "file", "not_measured", "no_file"), text)}, TARGET)),
        "deployed": table({"model": text, "place": text}, ("model", "place")),
        "warnings": NOTES,
        "budget": table({"met": flag, "checks": several(CHECK)}, ("met", "checks"), met_if_all),
        "data": table({**data, "test": count}),
        "environment": table({"cpu": named(anything), "devices": named(table({"facts": FACTS}))}),
    }
    table(fields, ("name", "recipe_sha256"))(value, key)


def baseline(value: Any, key: str) -> None:
    """Check a baseline, whose rows have the metrics of its task."""
    metrics = _metrics(value, key)
    row = {
        **FIGURES,
        **_figures(metrics),
        "latency_ratio": table(RATIO, ("ratio",), holds("ratio", "ci95")),
        "latency_ms": POSITIVE,
        "cost_ms": POSITIVE,
        "teacher": table({**{name: FIGURES[name] for name in OF_TEACHER}, **_figures(metrics)}),
    }
    rows = named(table(row, ("runtime", "precision", metrics[0].name)))
    table({"name": text, "facts": table({"test samples": count}), "rows": rows}, ("facts", "rows"))(value, key)


def _metrics(value: Any, key: str) -> Sequence[Metric]:
    table({"task": one_of(*TASKS)})(value, key)
    return task_of(value).metrics


def _row(metrics: Sequence[Metric]) -> Reader:
    timed = {**RATIO, "baseline_sha256": text}
    fields = {
        **FIGURES,
        **_figures(metrics),
        **{metric.interval_key: interval(_range(metric)) for metric in metrics},
        "model": text,
        "role": one_of(*ROLES),
        "expected_calibration_error": SHARE,
        "negative_log_likelihood": number(),
        "peak_rss_bytes": count,
        "energy_mj": number(),
        "predictions": text,
        "warnings": NOTES,
        "latency_ms": table(TIMES, ("p50", "n"), ascending),
        "cost_ms": COST,
        "latency_vs_teacher": table(RATIO, ("ratio",), holds("ratio", "ci95")),
        "latency_vs_baseline": table(timed, ("ratio", "baseline_sha256"), holds("ratio", "ci95")),
        "file": path,
        "valid": flag,
    }
    return table(
        fields,
        ("model", "runtime", "precision"),
        all_of(holds(metric.name, metric.interval_key) for metric in metrics),
    )


def _figures(metrics: Sequence[Metric]) -> dict[str, Reader]:
    return {metric.name: _range(metric) for metric in metrics}


def _range(metric: Metric) -> Reader:
    return SHARE if metric.unit == "%" else number()


def must_have_shape(document: Mapping[str, Any], shape: Reader, known: int, source: object) -> None:
    """Check a report or a baseline, of which ``known`` is the newest version that can be read.

    Raises:
        EdgekdError: it is of a later version, or holds an impossible value.
    """
    version = document.get("schema_version", known)
    if isinstance(version, int) and version > known:
        shown = brief(version)
        said = f"it is of version {shown}, and this edgekd reads up to {known}; take the edgekd that wrote it"
        raise EdgekdError(f"{source}: schema_version: {said}")
    try:
        if isinstance(version, bool) or not isinstance(version, int) or version < 0:
            raise Malformed("schema_version", f"{brief(version)} is no version")
        shape(document, "")
    except Malformed as found:
        raise Malformed(found.key, found.says, source) from None
