"""The table of the record of ``factorize.py``."""

from tables import Record, markdown, points, ratio


def factorised(record: Record) -> str:
    heads = ("whole %", "pruned %", "factorised %", "factorised over pruned, points", "time pruned", "time factorised")
    rows = {(row["network"], row["way"]): row for row in record["rows"]}
    networks = dict.fromkeys(network for network, _ in rows)
    return markdown(
        ("Network, file", *heads), [_cells(rows, network, file) for network in networks for file in ("float", "int8")]
    )


def _cells(rows: dict[tuple[str, str], Record], network: str, file: str) -> list[str]:
    whole, pruned, factors = (rows[network, way] for way in ("whole", "pruned", "factorised"))
    return [
        f"{network}, {file}",
        *(f"{row['accuracy'][file]['percent']:.1f}" for row in (whole, pruned, factors)),
        points(factors["over_pruned"][file]["accuracy"]),
        *(ratio(row["over_whole"][file]["time"]) for row in (pruned, factors)),
    ]
