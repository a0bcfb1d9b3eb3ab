"""What a report says in two places must be the same in both."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgekd.errors import first_line
from edgekd.files import sha256_file
from edgekd.records.roles import roles_must_agree
from edgekd.records.rows import place_of, teacher_of
from edgekd.records.shape import Malformed
from edgekd.stats.correct import decode_correct
from edgekd.stats.proportion import wilson_interval

Row = Mapping[str, Any]

SAME = 1e-6
# How far the medians of two files may be from the ratio of their times in turns, which follows what else runs.
DRIFT = 2.0
# Letters of a name or a reason in a message.
SHOWN = 100


def must_agree(report: Mapping[str, Any], samples: int | None) -> None:
    """Check the rows of a report, of a test set of ``samples``.

    Raises:
        Malformed: two rows are of one network at one place, figures contradict each other, or it is not clear which
            network is the teacher and which is deployed.
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
        answers_must_agree(row, samples, key)
    for place, number in found.items():
        beside = found.get((teacher, place[1]))
        if beside is not None and beside != number:
            times_must_agree(rows[number], rows[beside], f"rows.{number}")


def answers_must_agree(row: Row, samples: int | None, key: str) -> None:
    """Check how many answers are right, where a row of a report or a baseline says it more than once."""
    accuracy, n, text = row.get("accuracy"), row.get("n"), row.get("right")
    if n is not None and samples is not None and n != samples:
        raise Malformed(f"{key}.n", f"it was tested on {n} samples, and the test set has {samples}")
    if text is not None:
        right = decode_correct(text, n)
        if right is None:
            raise Malformed(f"{key}.right", f"it does not hold one bit for each of {n} samples")
        if accuracy is not None and not close(sum(right), accuracy * len(right)):
            said = f"{sum(right)} of {n} answers are right, and the accuracy is said to be {accuracy}"
            raise Malformed(f"{key}.accuracy", said)
    if accuracy is None or not n:
        return
    correct = round(accuracy * n)
    if not close(correct, accuracy * n):
        raise Malformed(f"{key}.accuracy", f"no number of right answers among {n} gives {accuracy}")
    interval, due = row.get("accuracy_ci95"), wilson_interval(correct, n)
    if interval is not None and not all(math.isclose(*ends, abs_tol=SAME) for ends in zip(interval, due, strict=True)):
        said = f"{interval[0]:.4f} to {interval[1]:.4f} is not the interval of {correct} of {n}"
        raise Malformed(f"{key}.accuracy_ci95", f"{said}, {due[0]:.4f} to {due[1]:.4f}")


def close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=SAME)


def times_must_agree(row: Row, teacher: Row, key: str) -> None:
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


def files_must_agree(rows: Iterable[Row], folder: Path) -> None:
    """Check the files of ``rows`` that lie in the run's ``folder``; one that is not there any more says nothing.

    Raises:
        Malformed: a file is of another size or content than its row says, or of no run.
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
