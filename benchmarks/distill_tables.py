"""Tables of the page on distillation."""

from statistics import mean

from tables import Record, markdown, points, signed

from edgekd.formatting import ABSENT

TEXTBOOK = "textbook"


def methods(record: Record) -> str:
    """Give each method's points over labels alone for both students, the best method on average first."""
    plain = record["rows"][0]["method"]
    students = {row["student"]: row for row in record["rows"] if row["method"] == plain}
    found = {(row["student"], row["method"]): row for row in record["rows"] if row["method"] != plain}

    def average(method: str) -> float:
        return mean(row["over_plain"]["points"] for (_, each), row in found.items() if each == method)

    def cell(student: str, method: str) -> str:
        row = found.get((student, method))
        if row is None:
            return ABSENT
        (low, high), star = row["over_plain"]["ci95"], "" if len(row["right"]) > 1 else "*"
        return f"{signed(row['over_plain']['points'])} ± {(high - low) / 2:.2f}{star}"

    ordered = sorted({method for _, method in found}, key=average, reverse=True)
    rows = [[method, *(cell(student, method) for student in students)] for method in ordered]
    heads = (f"{student}, over {row['accuracy']['percent']:.1f} %" for student, row in students.items())
    return markdown(["Method", *heads], rows)


def labels(record: Record) -> str:
    def cells(row: Record) -> list[str]:
        over = row.get("over_all_labels")
        return [row["labels"], f"{row['accuracy']['percent']:.2f}", points(over) if over else ABSENT]

    return markdown(["Labels", "Accuracy %", "over all labels"], map(cells, record["rows"]))


def throughput(record: Record) -> str:
    def cells(name: str) -> list[str]:
        about, row = record["speed"][name], record["rows"].get(name)
        form = "{ratio:.2f}× ({ci95[0]:.2f}–{ci95[1]:.2f})"
        over = form.format(**about["over"][TEXTBOOK]) if "over" in about else ABSENT
        accuracy = "{percent:.1f} ± {sd:.1f}".format(**row["accuracy"]) if row else ABSENT
        return [name, f"{about['images_per_second']:.0f}", over, accuracy]

    heads = ["Loop", "images/s", f"faster than {TEXTBOOK}", "accuracy %"]
    return markdown(heads, map(cells, record["speed"]))
