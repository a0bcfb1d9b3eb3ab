"""Tables of the documentation, as Markdown, from recorded figures."""

import re
from collections.abc import Iterable
from typing import Any

from edgekd.formatting import ABSENT, significant

Record = dict[str, Any]


def markdown(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """The first column is text, the others are figures."""
    heads = list(heads)
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows))


def speed(record: Record) -> str:
    methods = ("float", *record["peers"], "edgekd")

    def cells(row: Record) -> list[str]:
        over, peer = row["edgekd_over"], row.get("fastest_peer")
        times = (row["latency"].get(method) for method in methods)
        shown = [significant(time["latency_ms"]["p50"]) if time else ABSENT for time in times]
        return [row["network"], *shown, ratio(over[peer]) if peer else ABSENT, ratio(over["float"])]

    return markdown(
        ["Network", *methods, "over fastest peer", "over float"], [cells(row) for row in by_name(record["rows"])]
    )


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
    """Give each network's float file, edgekd's, and the best and the worst of its peers."""
    best = {(row["network"], row["method"]): row["over_best_peer"] for row in record["over_best_peer"]}
    further = {row["method"] for row in record["questions"]}

    def cells(row: Record) -> list[str]:
        about, own = row["accuracy"], best.get((row["network"], row["method"]))
        spread = f"{about['sd']:.2f}" if about.get("sd") else ABSENT
        figures = (f"{about['percent']:.2f}", spread, points(row["over_float"]), points(own) if own else ABSENT)
        return [f"{row['network']}, {row['method']}", *figures]

    def shown(rows: list[Record]) -> list[Record]:
        ours = [row for row in rows if row["method"] == "float" or row["method"].startswith("edgekd")]
        peers = sorted((row for row in rows if row not in ours), key=lambda row: row["accuracy"]["percent"])
        return [*ours, peers[-1], peers[0]]

    evaluated = [row for row in record["methods"] if row["method"] not in further and "error" not in row]
    networks = dict.fromkeys(row["network"] for row in evaluated)
    rows = [row for each in networks for row in shown([row for row in evaluated if row["network"] == each])]
    heads = ["Network, method", "Accuracy %", "sd of seeds", "over float", "over the best peer"]
    return markdown(heads, map(cells, rows))


def questions(record: Record) -> str:
    rows = [[f"{row['method']}, against {row['against']}", points(row["difference"])] for row in record["questions"]]
    return markdown([record["questions"][0]["network"], "Points"], rows)


def one_training(record: Record) -> str:
    rows = [
        [
            f"{row['network']}, `{row['file']}`",
            *(f"{row['pytorch']:.2f}", signed(row["points"]), f"{100 * row['agreement']:.2f}"),
            f"{row['max_steps']:.1f} / {row['mean_steps']:.2f}",
        ]
        for row in record["rows"]
    ]
    heads = ["Network, file", "PyTorch %", "File, points", "Same prediction %", "Largest / mean difference, steps"]
    return markdown(heads, rows)


def tensorrt(record: Record) -> str:
    def cells(row: Record) -> list[str]:
        engines = row["engines"].values()
        first = next(iter(engines))["layers"]
        kinds = [
            " + ".join(f"{count} {precision}" for precision, count in first.get(kind, {}).items()) or ABSENT
            for kind in ("correlation", "gemm")
        ]
        seconds = [engine["seconds"] for engine in engines]
        return [row["network"], *kinds, f"{min(seconds):.0f}–{max(seconds):.0f}"]

    built = [row for row in by_name(record["rows"]) if row.get("engines")]
    return markdown(["Network", "convolutions", "products", "seconds to build"], map(cells, built))


def orders(record: Record) -> str:
    rows = [
        [
            f"{chain['order']}, teacher {chain['teacher']}",
            f"{chain['accuracy']['percent']:.2f}",
            f"{chain['accuracy']['sd']:.2f}",
            *(points(chain[key]) for key in ("over_taught_order", "over_teacher_in_distil")),
        ]
        for chain in record["chains"]
    ]
    taught = record["chains"][0]["order"]
    return markdown(["Order", "Accuracy %", "sd of seeds", f"over {taught}", "over teacher in distil"], rows)


def half_latency(record: Record) -> str:
    def cells(row: Record) -> list[str]:
        macs, chosen = row["macs"], row["chosen"]
        shares = (chosen["predicted"], chosen["measured"])
        again, plain = (row["ratio"][label] for label in ("by latency", "by MACs"))
        kept = f"{macs['by latency'] / macs['whole']:.3f}"
        return [row["network"], *(f"{share:.3f}" for share in shares), ratio(again), kept, ratio(plain)]

    heads = ["Network", "predicted", "measured", "timed again", "MACs kept", "half of the MACs takes"]
    return markdown(heads, [cells(row) for row in record["rows"]])


def pareto(record: Record) -> str:
    rows = [
        [
            f"{row['method']}, {row['aim']:g}",
            f"{row['macs']:.3f}",
            "{:.3f} ({:.3f}–{:.3f})".format(row["latency"], *row["latency_ci95"]),
            *(f"{about['percent']:.2f}" for about in row["accuracy"].values()),
            points(row["taught_over_plain"]),
        ]
        for row in record["rows"]
    ]
    recoveries = [f"{recovery} %" for recovery in record["rows"][0]["accuracy"]]
    return markdown(["Cut, target", "MACs", "Latency", *recoveries, "teacher, points"], rows)


def importances(record: Record) -> str:
    rows = [
        [
            f"`{row['way']}`",
            f"{row['macs']:.3f}",
            *(f"{row['accuracy'][when]['percent']:.2f}" for when in ("cut", "trained")),
            f"{row['accuracy']['trained']['sd']:.2f}",
            *(points(over) for over in row["over"].values()),
        ]
        for row in record["rows"]
    ]
    others = [f"over `{other}`" for other in record["rows"][0]["over"]]
    return markdown(["Importance", "MACs kept", "Cut %", "Trained %", "sd of seeds", *others], rows)


def faster(record: Record) -> str:
    """Give times faster for each way to cut; networks whose accuracy the peer's curve does not reach have none."""

    def times(one: Record) -> str:
        return "{:.2f} ({:.2f}–{:.2f})".format(one["ratio"], *one["ci95"])

    def cells(method: str, about: Record) -> list[str]:
        compared = [one for one in about["networks"] if "ratio" in one]
        by_curve = [", ".join(times(one) for one in compared if one["curve"] == curve) for curve in curves]
        return [method, *by_curve, times(about)]

    found = record["faster_at_equal_accuracy"]
    curves = list(dict.fromkeys(one["curve"] for about in found.values() for one in about["networks"]))
    return markdown(["Cut", *curves, "geometric mean"], [cells(*each) for each in found.items()])


def zoo(record: Record) -> str:
    """A row for each family of networks, with the range of its members."""
    families: dict[str, list[Record]] = {}
    for row in by_name(record["rows"]):
        families.setdefault(FAMILY.match(row["network"])[0], []).append(row)  # type: ignore[index]

    def cells(family: str, rows: list[Record]) -> list[str]:
        times = [row["ratio"] for row in rows if "ratio" in row]
        through = sum(not row["error"] for row in rows)
        kept = _range(row["share"] for row in rows if "share" in row)
        return [f"`{family}*`", f"{through} of {len(rows)}", kept, _range(times)]

    return markdown(
        ["Networks", "cut, exported", "MACs kept", "time over unpruned"], [cells(*each) for each in families.items()]
    )


FAMILY = re.compile(r"(?:wide_)?[a-z]+(?:_v\d|_[xy](?=_))?")


def _range(values: Iterable[float]) -> str:
    low, high = min(found := list(values)), max(found)
    return f"{low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f}–{high:.3f}"


def neighbours(record: Record) -> str:
    """A row for each number of busy processes: seconds of an epoch, and of how long it takes on a quiet machine."""
    cases = {(case["way"], case["busy"]): case for case in record["cases"]}

    def cell(way: str, busy: int) -> str:
        case = cases[way, busy]
        return f"{significant(case['seconds_per_epoch'])} s ({significant(case['times_as_long'])}×)"

    heads = ["Busy processes", "a thread for each processor", "the threads that a run takes"]
    rows = [[str(busy), cell("all", busy), cell("fitting", busy)] for busy in sorted({busy for _, busy in cases})]
    return markdown(heads, rows)
