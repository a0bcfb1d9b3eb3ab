"""Tables of the page on distillation."""

from tables import Record, markdown, points

from edgekd.formatting import ABSENT


def methods(record: Record) -> str:
    """The best method of each student first; the losses alone, and then together."""

    def cells(row: Record) -> list[str]:
        about = row["accuracy"]
        spread = f"{about['sd']:.2f}" if "sd" in about else ABSENT
        best = f"{row['best_on_validation']['percent']:.2f}"
        figures = (str(len(row["right"])), f"{about['percent']:.2f}", spread, best, points(row["over_plain"]))
        return [f"{row['student']}, {row['method']}", *figures]

    plain = record["rows"][0]["method"]
    ordered = sorted(record["rows"], key=lambda row: (row["student"], -row["accuracy"]["percent"]))
    heads = ["Student, method", "seeds", "last epoch %", "sd of seeds", "best on validation %", f"over {plain}"]
    return markdown(heads, map(cells, ordered))


def labels(record: Record) -> str:
    def cells(row: Record) -> list[str]:
        about, over = row["accuracy"], row.get("over_all_labels")
        compared = (f"{row['share_of_gain']:.1%}", points(over)) if over else (ABSENT, ABSENT)
        return [row["labels"], f"{about['percent']:.2f}", f"{about['sd']:.2f}", *compared]

    heads = ["Labels", "Accuracy %", "sd of seeds", "share of the gain", "over all labels"]
    return markdown(heads, map(cells, record["rows"]))


def throughput(record: Record) -> str:
    def cells(name: str) -> list[str]:
        about, row = record["speed"][name], record["rows"][name]
        ratios = [
            "{ratio:.2f} ({ci95[0]:.2f}–{ci95[1]:.2f})".format(**about["over"][peer]) if "over" in about else ABSENT
            for peer in peers
        ]
        over = points(row["over"]) if "over" in row else ABSENT
        return [
            name,
            f"{about['images_per_second']:.0f}",
            *ratios,
            f"{row['accuracy']['percent']:.2f}",
            over,
            at_most(name),
        ]

    def at_most(name: str) -> str:
        limits = record["limit"]["times_faster_peer_at_most"]
        return f"{limits[name]:.2f}" if name in limits else ABSENT

    peers = [name for name, about in record["speed"].items() if "over" not in about]
    heads = ["Loop", "images/s", *(f"over {peer}" for peer in peers), "accuracy %", "points over the better one"]
    return markdown([*heads, "possible here"], map(cells, record["speed"]))


def where(record: Record) -> str:
    profiles = record["profile"]
    groups = dict.fromkeys(group for about in profiles.values() for group in about["share"])
    rows = [[group, *(f"{about['share'].get(group, 0):.1%}" for about in profiles.values())] for group in groups]
    return markdown(["Share of a step", *profiles], rows)
