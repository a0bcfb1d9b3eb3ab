"""The table of the record of ``factorize.py``."""

from tables import Record, markdown, points, ratio


def factorised(record: Record) -> str:
    heads = ("Network", "MACs", "File", "Accuracy", "over pruned, points", "Time over whole", "Time over pruned")
    return markdown(heads, [_cells(row, kind, record["rows"]) for row in record["rows"] for kind in row["accuracy"]])


def _cells(row: Record, kind: str, rows: list[Record]) -> list[str]:
    whole = next(each for each in rows if (each["network"], each["way"]) == (row["network"], "whole"))
    pruned, of_whole = row["over_pruned"][kind], row["over_whole"][kind]
    return [
        f"{row['network']}, {row['way']}",
        f"{row['macs'] / whole['macs']:.0%}",
        kind,
        f"{row['accuracy'][kind]['percent']:.1f} %",
        points(pruned["accuracy"]),
        ratio(of_whole["time"]),
        ratio(pruned["time"]),
    ]
