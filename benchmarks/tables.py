"""Tables of the documentation, as Markdown, from recorded figures."""

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
    best = {(row["network"], row["method"]): row["over_best_peer"] for row in record["over_best_peer"]}
    further = {row["method"] for row in record["questions"]}

    def cells(row: Record) -> list[str]:
        if "error" in row:
            return [f"{row['network']}, {row['method']}", ABSENT, ABSENT, ABSENT, ABSENT]
        about, own = row["accuracy"], best.get((row["network"], row["method"]))
        spread = f"{about['sd']:.2f}" if about.get("sd") else ABSENT
        figures = (f"{about['percent']:.2f}", spread, points(row["over_float"]), points(own) if own else ABSENT)
        return [f"{row['network']}, {row['method']}", *figures]

    rows = [cells(row) for row in record["methods"] if row["method"] not in further]
    return markdown(["Network, method", "Accuracy %", "sd of seeds", "over float", "over the best peer"], rows)


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
        engines = row.get("engines", {})
        found = [each["layers"] for each in engines.values()]
        kinds = [
            " + ".join(f"{count} {precision}" for precision, count in found[0].get(kind, {}).items()) or ABSENT
            for kind in ("correlation", "gemm")
        ]
        seconds = [f"{engine['seconds']:.0f}" for engine in engines.values()]
        return [row["network"], *kinds, *seconds]

    built = [row for row in by_name(record["rows"]) if row.get("engines")]
    heads = ["Network", "convolutions", "products", *(f"{gpu}, s" for gpu in built[0]["engines"])]
    return markdown(heads, [cells(row) for row in built])


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
    def cells(method: str, one: Record) -> list[str]:
        reached = f"{one['accuracy']:.2f}" if "accuracy" in one else "geometric mean"
        times = "{:.3f} ({:.3f}–{:.3f})".format(one["ratio"], *one["ci95"]) if "ratio" in one else ABSENT
        return [method, one.get("curve", "both"), reached, times]

    rows = [
        cells(method, one)
        for method, about in record["faster_at_equal_accuracy"].items()
        for one in (*about["networks"], {key: about[key] for key in ("ratio", "ci95") if key in about})
    ]
    return markdown(["Cut", "Recovery", "Accuracy %", "Times faster at equal accuracy"], rows)


def zoo(record: Record) -> str:
    def cells(row: Record) -> list[str]:
        interval = " ({:.3f}–{:.3f})".format(*row["ci95"]) if row.get("ci95") else ""
        time = f"{row['ratio']:.3f}{interval}" if "ratio" in row else ABSENT
        kept = f"{row['share']:.3f}" if "share" in row else ABSENT
        return [row["network"], str(row["shape"][-1]), kept, time, str(row["round_to"]), row["error"] or "yes"]

    heads = ["Network", "Side", "MACs kept", "Time over unpruned", "Multiples of", "Through"]
    return markdown(heads, [cells(row) for row in by_name(record["rows"])])


def neighbours(record: Record) -> str:
    """A row for each number of busy processes: seconds of an epoch, and of how long it takes on a quiet machine."""
    cases = {(case["way"], case["busy"]): case for case in record["cases"]}

    def cell(way: str, busy: int) -> str:
        case = cases[way, busy]
        return f"{significant(case['seconds_per_epoch'])} s ({significant(case['times_as_long'])}×)"

    heads = ["Busy processes", "a thread for each processor", "the threads that a run takes"]
    rows = [[str(busy), cell("all", busy), cell("fitting", busy)] for busy in sorted({busy for _, busy in cases})]
    return markdown(heads, rows)
