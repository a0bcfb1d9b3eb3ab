"""Checks that a report does not contradict itself, nor the files of its run."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgekd.errors import first_line
from edgekd.files import sha256_file
from edgekd.records.readers import Malformed
from edgekd.records.roles import roles_must_agree
from edgekd.records.rows import place_of, teacher_of
from edgekd.stats.correct import decode_correct
from edgekd.stats.proportion import wilson_interval

Row = Mapping[str, Any]

SAME = 1e-6
# How far the medians of two files may be from the ratio of their times in turns, which follows what else runs.
DRIFT = 2.0
# Letters of a name or a reason in a message.
SHOWN = 100


def check_report(report: Mapping[str, Any], samples: int | None) -> None:
    """Check the rows of a report, of a test set of ``samples``.

    Raises:
        Malformed: two rows are of one network at one place, figures contradict each other, or the teacher or the
            deployed network is not clear.
    """
    rows = report["rows"]
    roles_must_agree(report)
    teacher = teacher_of(report)
    found: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows):
        key = f"rows.{number}"
        place = (row["model"], place_of(row))
        if place in found:
            raise Malformed(key, f"{place[0]} on {place[1]} is in rows.{found[place]} already: which one counts?")
        found[place] = number
        check_correct(row, samples, key)
    for place, number in found.items():
        reference = found.get((teacher, place[1]))
        if reference not in (None, number):
            check_times(rows[number], rows[reference], f"rows.{number}")


def check_correct(row: Row, samples: int | None, key: str) -> None:
    """Check the number of correct predictions wherever a row of a report or a baseline states it.

    Raises:
        Malformed: two of the statements differ, or one is impossible.
    """
    accuracy, n, text = row.get("accuracy"), row.get("n"), row.get("right")
    if n is not None and samples is not None and n != samples:
        raise Malformed(f"{key}.n", f"it was tested on {n} samples, and the test set has {samples}")
    if text is not None:
        bits = decode_correct(text, n)
        if bits is None:
            raise Malformed(f"{key}.right", f"it does not hold one bit for each of {n} samples")
        if accuracy is not None and not _is_close(sum(bits), accuracy * len(bits)):
            said = f"{sum(bits)} of {n} predictions are correct, and the accuracy is said to be {accuracy}"
            raise Malformed(f"{key}.accuracy", said)
    if accuracy is None or not n:
        return
    correct = round(accuracy * n)
    if not _is_close(correct, accuracy * n):
        raise Malformed(f"{key}.accuracy", f"no number of correct predictions among {n} gives {accuracy}")
    interval, due = row.get("accuracy_ci95"), wilson_interval(correct, n)
    if interval is not None and not all(math.isclose(*ends, abs_tol=SAME) for ends in zip(interval, due, strict=True)):
        said = f"{interval[0]:.4f} to {interval[1]:.4f} is not the interval of {correct} of {n}"
        raise Malformed(f"{key}.accuracy_ci95", f"{said}, {due[0]:.4f} to {due[1]:.4f}")


def _is_close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=SAME)


def check_times(row: Row, teacher: Row, key: str) -> None:
    """Check that the ratio to the teacher's time is near the ratio of the two medians.

    Raises:
        Malformed: it is not, or a median is missing.
    """
    ratio = (row.get("latency_vs_teacher") or {}).get("ratio")
    if ratio is None:
        return
    times = [(each.get("latency_ms") or {}).get("p50") for each in (row, teacher)]
    if None in times:
        raise Malformed(f"{key}.latency_vs_teacher", "the times that it is of are missing, or the teacher's are")
    drift = ratio * times[1] / times[0]
    if not 1 / DRIFT <= drift <= DRIFT:
        said = f"{ratio:.4g} is far from {times[0]:.4g} ms over the teacher's {times[1]:.4g} ms: measure again"
        raise Malformed(f"{key}.latency_vs_teacher.ratio", said)


def check_files(rows: Iterable[Row], folder: Path) -> None:
    """Check the files of ``rows`` in the run's ``folder``, but those that are not there any more.

    Raises:
        Malformed: a file has another size or content than its row says, or is outside the folder.
    """
    for row in rows:
        name = row.get("file")
        if name is None:
            continue
        try:
            path = (folder / name).resolve()
            if not path.is_relative_to(folder.resolve()):
                raise Malformed("file", f"{name!r} is outside the run's folder")
            if not path.is_file():
                continue
            size = path.stat().st_size
            digest = sha256_file(path) if row.get("file_sha256") else None
        except (OSError, RuntimeError) as error:  # RuntimeError is of a loop of links
            raise Malformed("file", f"{str(name)[:SHOWN]!r} cannot be read ({first_line(error)[:SHOWN]})") from error
        if row.get("size_bytes") not in (None, size):
            raise Malformed("size_bytes", f"{row['size_bytes']} bytes are said of {name}, which has {size}")
        if digest != row.get("file_sha256"):
            raise Malformed("file_sha256", f"{name} is not the file that was measured")
