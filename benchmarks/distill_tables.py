"""Tables of the page on distillation."""

from tables import Record, markdown, points

from edgekd.figures import ABSENT


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
