"""Tables of the record of ``tasks.py``."""

from collections.abc import Sequence

from tables import Record, markdown, signed

from edgekd.formatting import size, times_faster
from edgekd.tasks.metric import Metric
from edgekd.tasks.registry import TASKS

LEAST_SEEDS = 3


def chains(record: Record) -> str:
    """A line for each case of ``tasks.py``: the metric of each network, and what the last one costs."""
    heads = ("Network", "Metric", "Teacher", "Quantised", "Lost in int8", "Size, smaller", "Faster")
    return markdown(heads, map(_chain, _by_title(record["chain"])))


def _chain(case: Record) -> list[str]:
    metric, rows = _metric(case), {row["model"]: row for row in case["rows"]}
    first, last = rows[case["teacher"]], rows[case["deployed"]]
    against = last["latency_vs_teacher"] or {}
    # Where float was measured to be faster, the deployed file is in float.
    precision = "" if last["precision"] == "int8" else ", in float"
    return [
        *(case["title"], metric.title, _value(metric, first), _value(metric, last) + precision),
        _lost(case["lost_in_int8"]),
        f"{size(last['size_bytes'])}, {times_faster(last['size_bytes'] / first['size_bytes'])}",
        times_faster(against.get("ratio"), against.get("ci95")),
    ]


def taught(record: Record) -> str:
    """The recovery after a cut on labels alone and with the teacher, in the metrics of :func:`chains`."""
    heads = ("Network", "Epochs", "Teacher", "Labels alone", "With the teacher", "Gained")
    return markdown(heads, map(_taught, _by_title(record["teacher"])))


def _taught(case: Record) -> list[str]:
    metric, found = _metric(case), case["gain"]
    means = [metric.shown(sum(case[way]) / len(case[way])) for way in ("labels", "teacher")]
    # An interval over two seeds says nothing.
    gained = _change(found["value"], found["ci95"]) if case["seeds"] >= LEAST_SEEDS else signed(found["value"])
    itself = metric.shown(case["teacher_itself"])
    return [case["title"], str(case["epochs"]), itself, *means, gained]


def beside_peers(record: Record) -> str:
    """Int8 files of one float file, edgekd's and the peers': the metric of :func:`chains`, times faster than float."""
    cases = _by_title(record["peers"])
    methods = list(dict.fromkeys(["float", "edgekd", *(peer for case in cases for peer in case["versions"])]))
    rows = [[case["title"], *(_file(method, case) for method in methods)] for case in cases]
    return markdown(("Network", *methods), rows)


def _file(method: str, case: Record) -> str:
    if method not in case["methods"]:
        return "no file that runs"
    value = _metric(case).shown(case["methods"][method]["value"])
    over = case["times"].get(method, {}).get("over_float")
    return f"{value}, {times_faster(over['ratio'])}" if over else value


def _by_title(cases: Record) -> list[Record]:
    return sorted(cases.values(), key=lambda case: str(case["title"]))


def _metric(case: Record) -> Metric:
    return next(each for each in TASKS[case["task"]].metrics if each.name == case["metric"])


def _value(metric: Metric, row: Record) -> str:
    return metric.shown(row[metric.name], row[metric.interval_key])


def _lost(lost: Record) -> str:
    return _change(lost["value"], lost["ci95"])


def _change(value: float, ends: Sequence[float]) -> str:
    return f"{signed(value)} ({signed(ends[0])} to {signed(ends[1])})"
