"""Tables of the documentation, as Markdown, from recorded figures."""

from collections.abc import Iterable, Mapping
from typing import Any

from edgekd.formatting import ABSENT, times_faster

Record = dict[str, Any]


def markdown(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """The first column is text, the others are figures."""
    heads = list(heads)
    rule = "|---|" + "---:|" * (len(heads) - 1)
    head, *lines = (f"| {' | '.join(cells)} |" for cells in (heads, *rows))
    return "\n".join([head, rule, *lines])


def speed(record: Record) -> str:
    """Give how many times faster edgekd's file of each network is."""

    def times(over: Record) -> str:
        return times_faster(over["ratio"], over["ci95"])

    def cells(row: Record) -> list[str]:
        over, peer = row["edgekd_over"], row.get("fastest_peer")
        return [row["network"], times(over["float"]), times(over[peer]) if peer else ABSENT]

    heads = ["Network", "faster than float", "faster than the fastest peer"]
    return markdown(heads, [cells(row) for row in by_name(record["rows"])])


def speed_in_openvino(record: Record) -> str:
    """Give how many times faster edgekd's file is in OpenVINO than others there, and than its own in ONNX Runtime."""
    own = "edgekd in ONNX Runtime"

    def cells(row: Record) -> list[str]:
        over = row.get("edgekd_over")
        if not over:
            return [row["network"], *[ABSENT] * 4]
        plain = [times_faster(over[other]["ratio"]) for other in ("float", "bfloat16")]
        both = [
            times_faster(over[other]["ratio"], over[other]["ci95"]) if other in over else ABSENT
            for other in ("NNCF", own)
        ]
        return [row["network"], *plain, *both]

    heads = ["Network", "than float", "than bfloat16", "than NNCF", "than in ONNX Runtime"]
    return markdown(heads, [cells(row) for row in by_name(record["rows"])])


def by_name(rows: Iterable[Record]) -> list[Record]:
    return sorted(rows, key=lambda row: row["network"])


def ratio(over: Record) -> str:
    interval = " ({:.3f}–{:.3f})".format(*over["ci95"]) if "ci95" in over else ""
    return f"{over['ratio']:.3f}{interval}"


def points(over: Record) -> str:
    low, high = over["ci95"]
    return f"{signed(over['points'])} ({signed(low)} to {signed(high)})" if low < high else ABSENT


def signed(value: float) -> str:
    """With a minus sign, and nothing before zero."""
    return f"{value:+.2f}".replace("-", "−").replace("−0.00", "0.00").replace("+0.00", "0.00")


def accuracy(record: Record) -> str:
    """Give the points that edgekd's files, and the best and the worst of its peers', gain over each float network."""
    further = {row["method"] for row in record["questions"]}
    networks: dict[str, dict[str, Record]] = {}
    for row in record["methods"]:
        if row["method"] not in further and "error" not in row:
            networks.setdefault(row["network"], {})[row["method"]] = row

    def cells(network: str, rows: Mapping[str, Record]) -> list[str]:
        ours = [name for name in rows if name.startswith("edgekd")]
        peers = sorted({*rows} - {"float", *ours}, key=lambda name: rows[name]["accuracy"]["percent"])
        gains = [points(rows[name]["over_float"]) for name in (*ours, peers[-1], peers[0])]
        return [network, f"{rows['float']['accuracy']['percent']:.2f}", *gains]

    heads = ["Network", "float %", "edgekd PTQ", "edgekd QAT", "best peer", "worst peer"]
    return markdown(heads, [cells(*each) for each in networks.items()])


def half_latency(record: Record) -> str:
    def cells(row: Record) -> list[str]:
        macs, plain, again = row["macs"], row["ratio"]["by MACs"], row["ratio"]["by latency"]
        kept = f"{macs['by latency'] / macs['whole']:.3f}"
        return [row["network"], f"{row['chosen']['predicted']:.3f}", ratio(again), kept, ratio(plain)]

    heads = ["Network", "predicted", "measured", "MACs kept", "at half of the MACs"]
    return markdown(heads, [cells(row) for row in record["rows"]])


def importances(record: Record) -> str:
    rows = [
        [
            f"`{row['way'].replace('by measured harm', 'sensitivity')}`",
            f"{row['macs']:.3f}",
            f"{row['accuracy']['trained']['percent']:.2f}",
            points(row["over"]["group_magnitude"]),
        ]
        for row in record["rows"]
    ]
    return markdown(["Importance", "MACs kept", "Accuracy %", "over `group_magnitude`"], rows)


def faster(record: Record) -> str:
    """Give how many times faster each way to cut is than the peer's, at accuracies that the peer's curve reaches."""
    found = record["faster_at_equal_accuracy"].items()
    rows = [[method, "{:.2f}× ({:.2f}–{:.2f})".format(about["ratio"], *about["ci95"])] for method, about in found]
    return markdown(["Cut", "times faster"], rows)
