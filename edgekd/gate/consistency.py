"""Checks that a report does not contradict itself, nor the files of its run."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd.errors import first_line
from edgekd.files import sha256_file
from edgekd.records.readers import Malformed
from edgekd.records.roles import roles_must_agree
from edgekd.records.rows import place_of, task_of, teacher_of
from edgekd.stats.correct import decode_correct
from edgekd.stats.proportion import wilson_interval
from edgekd.tasks.evidence_file import is_below
from edgekd.tasks.metric import Evidence, Metric

Row = Mapping[str, Any]

SAME = 1e-6
# How far the medians of two files may be from the ratio of their times in turns, which follows what else runs.
DRIFT = 2.0
TIMES = ("latency_ms", "cost_ms")
# Letters of a name or a reason in a message.
SHOWN = 100


def check_report(report: Mapping[str, Any], samples: int | None) -> None:
    """Check the rows of a report, of a test set of ``samples``; evidence in files is left out.

    Raises:
        Malformed: two rows are of one network at one place, figures contradict each other, or the teacher or the
            deployed network is not clear.
    """
    rows = report["rows"]
    roles_must_agree(report)
    teacher, metrics = teacher_of(report), task_of(report).metrics
    found: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows):
        key = f"rows.{number}"
        place = (row["model"], place_of(row))
        if place in found:
            raise Malformed(key, f"{place[0]} on {place[1]} is in rows.{found[place]} already: which one counts?")
        found[place] = number
        check_correct(row, samples, metrics, key)
    for place, number in found.items():
        reference = found.get((teacher, place[1]))
        if reference not in (None, number):
            check_times(rows[number], rows[reference], f"rows.{number}")


def check_correct(row: Row, samples: int | None, metrics: Iterable[Metric], key: str) -> None:
    """Check the number of correct predictions wherever a row of a report or a baseline states it.

    Args:
        metrics: the task's; it matters to those of which a sample is right or wrong.

    Raises:
        Malformed: two of the statements differ, or one is impossible.
    """
    n, text = row.get("n"), row.get("right")
    if n is not None and samples is not None and n != samples:
        raise Malformed(f"{key}.n", f"it was tested on {n} samples, and the test set has {samples}")
    bits = decode_correct(text, n)
    if text is not None and bits is None:
        raise Malformed(f"{key}.right", f"it does not hold one bit for each of {n} samples")
    for metric in metrics:
        if metric.test == "mcnemar":
            _check_share(row, metric, bits, key)


def _check_share(row: Row, metric: Metric, bits: Sequence[bool] | None, key: str) -> None:
    value, n = row.get(metric.name), row.get("n")
    if bits is not None and value is not None and not _is_close(sum(bits), value * len(bits)):
        said = f"{sum(bits)} of {n} predictions are correct, and the {metric.title} is said to be {value}"
        raise Malformed(f"{key}.{metric.name}", said)
    if value is None or not n:
        return
    correct = round(value * n)
    if not _is_close(correct, value * n):
        raise Malformed(f"{key}.{metric.name}", f"no number of correct predictions among {n} gives {value}")
    interval, due = row.get(metric.interval_key), wilson_interval(correct, n)
    if interval is not None and not all(math.isclose(*ends, abs_tol=SAME) for ends in zip(interval, due, strict=True)):
        said = f"{interval[0]:.4f} to {interval[1]:.4f} is not the interval of {correct} of {n}"
        raise Malformed(f"{key}.{metric.interval_key}", f"{said}, {due[0]:.4f} to {due[1]:.4f}")


def check_evidence(row: Row, kept: Mapping[str, Evidence], key: str) -> None:
    """Check that evidence gives the metrics that ``row`` states.

    Raises:
        Malformed: it gives another value, or is of other samples.
    """
    for name, evidence in kept.items():
        if evidence.n != row.get("n", evidence.n):
            raise Malformed(f"{key}.evidence", f"it is of {evidence.n} samples, and the row of {row['n']}")
        stated, found = row.get(name), evidence.value()
        if stated is not None and not math.isclose(stated, found, rel_tol=SAME, abs_tol=SAME):
            raise Malformed(f"{key}.{name}", f"it is said to be {stated}, and its evidence gives {found:.6g}")


def _is_close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=SAME)


def check_times(row: Row, teacher: Row, key: str) -> None:
    """Check that the ratio to the teacher's time is near that of the two median costs, or latencies without these.

    Raises:
        Malformed: it is not, or a median is missing.
    """
    ratio = (row.get("latency_vs_teacher") or {}).get("ratio")
    if ratio is None:
        return
    latencies, costs = ([(each.get(name) or {}).get("p50") for each in (row, teacher)] for name in TIMES)
    if None in latencies:
        raise Malformed(f"{key}.latency_vs_teacher", "the times that it is of are missing, or the teacher's are")
    times = latencies if None in costs else costs
    drift = ratio * times[1] / times[0]
    if not 1 / DRIFT <= drift <= DRIFT:
        said = f"{ratio:.4g} is far from {times[0]:.4g} ms over the teacher's {times[1]:.4g} ms: measure again"
        raise Malformed(f"{key}.latency_vs_teacher.ratio", said)


def check_files(rows: Iterable[Row], folder: Path) -> None:
    """Check the files of ``rows`` in the run's ``folder``, but those that are not there any more.

    A folder on the way may be a link to another disk, as in evidence.

    Raises:
        Malformed: a file has another size or content than its row says, or is outside the folder.
    """
    for row in rows:
        name = row.get("file")
        if name is None:
            continue
        try:
            path = folder / name
            if not is_below(name):
                raise Malformed("file", f"{name!r} is outside the run's folder")
            if not path.is_file():
                continue
            size = path.stat().st_size
            digest = sha256_file(path) if row.get("file_sha256") else None
        except OSError as error:
            raise Malformed("file", f"{str(name)[:SHOWN]!r} cannot be read ({first_line(error)[:SHOWN]})") from error
        if row.get("size_bytes") not in (None, size):
            raise Malformed("size_bytes", f"{row['size_bytes']} bytes are said of {name}, which has {size}")
        if digest != row.get("file_sha256"):
            raise Malformed("file_sha256", f"{name} is not the file that was measured")
