"""Tables of the record of ``multilabel.py``."""

from tables import Record, markdown

from edgekd.tasks.multilabel import Multilabel


def scenes(record: Record) -> str:
    metrics = Multilabel.metrics
    heads = ("Network", "Precision", *(metric.heading for metric in metrics), "Size", "Times faster")
    return markdown(heads, [_cells(row) for row in record["rows"]])


def _cells(row: Record) -> list[str]:
    shown = [metric.shown(row[metric.name], row[f"{metric.name}_ci95"]) for metric in Multilabel.metrics]
    ratio = row["latency_vs_teacher"]
    faster = "–"
    if ratio:
        low, high = (1 / end for end in reversed(ratio["ci95"]))
        faster = f"{1 / ratio['ratio']:.2f} ({low:.2f}–{high:.2f})"
    return [row["model"], row["precision"], *shown, f"{row['size_bytes'] / 1e3:.1f} kB", faster]


def scenes_gate(record: Record) -> str:
    asked = [
        (name, each["said"]["map"].partition(";")[0], _verdict(each["failed"])) for name, each in record["gate"].items()
    ]
    drawn = [
        (f"noise of {noise}, {len(found)} draws", _range(found), _counted(found))
        for noise, found in record["noise"].items()
    ]
    return markdown(("What was changed", "Mean average precision", "The gate"), [*asked, *drawn])


def _verdict(failed: list[str]) -> str:
    return f"fails: {', '.join(failed)}" if failed else "passes"


def _range(found: list[Record]) -> str:
    values = [each["map"] for each in found]
    return f"{100 * min(values):.1f} to {100 * max(values):.1f} %"


def _counted(found: list[Record]) -> str:
    return f"{sum(bool(each['failed']) for each in found)} of {len(found)} fail"
