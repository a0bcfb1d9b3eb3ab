"""Class by class: which classes are worth showing, and how they and the grown confusions read."""

from collections.abc import Sequence

from edgekd.formatting import Column, percent
from edgekd.report.schema import ByClass, ClassAnswers

# More classes than these are shown by their ends alone.
ALL_UP_TO = 15
MOST_LOST, MOST_WON = 10, 3


def change(answers: ClassAnswers) -> float:
    """In points; below 0 where answers were lost. The class has samples."""
    return 100 * (answers.right_after - answers.right_before) / answers.n


def shown_classes(by_class: ByClass) -> list[ClassAnswers]:
    """Those that have samples, what lost most first; of many the ten that lost most and the three that won most."""
    ordered = sorted((each for each in by_class.classes if each.n), key=change)
    return ordered if len(ordered) <= ALL_UP_TO else ordered[:MOST_LOST] + ordered[-MOST_WON:]


def said_of_classes(by_class: ByClass) -> str:
    """One sentence: how many classes lost and won."""
    changes = [change(each) for each in by_class.classes if each.n]
    lost, won = sum(each < 0 for each in changes), sum(each > 0 for each in changes)
    return f"Of {len(changes)} classes {lost} lost accuracy from {by_class.before} to {by_class.after} and {won} won."


def class_columns(by_class: ByClass) -> list[Column]:
    """Of :func:`shown_classes` as JSON."""
    return [
        Column("Class", lambda row: row["name"], number=False),
        Column(by_class.before, lambda row: percent(row["right_before"] / row["n"])),
        Column(by_class.after, lambda row: percent(row["right_after"] / row["n"])),
        Column("Change", lambda row: points(change(ClassAnswers(**row)))),
        Column("Samples", lambda row: str(row["n"])),
    ]


def confusion_columns(by_class: ByClass) -> list[Column]:
    return [
        Column("Class", lambda row: row["label"], number=False),
        Column("Answered as", lambda row: row["answered"], number=False),
        Column(by_class.before, lambda row: str(row["before"])),
        Column(by_class.after, lambda row: str(row["after"])),
        Column("More", lambda row: f"+{row['after'] - row['before']}"),
    ]


def points(value: float, interval: Sequence[float] | None = None) -> str:
    """``−1.4 points (−2.9 to +0.1)``, with a true minus sign."""
    reach = f" ({signed(interval[0])} to {signed(interval[1])})" if interval else ""
    return f"{signed(value)} points{reach}"


def signed(value: float) -> str:
    return f"{value:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0").replace("-", "−")
