"""The accuracy of each class and the confusions that grew: which are shown, and how they read."""

from collections.abc import Sequence

from edgekd.formatting import Column, percent
from edgekd.report.schema import ByClass, ClassCounts

# More classes than these are shown by their ends alone.
ALL_UP_TO = 15
MOST_LOST, MOST_GAINED = 10, 3


def change(counts: ClassCounts) -> float:
    """Return the change of a class's accuracy in points, below 0 for a loss. The class has samples."""
    return 100 * (counts.right_after - counts.right_before) / counts.n


def shown_classes(by_class: ByClass) -> list[ClassCounts]:
    """Return the classes with samples, the most lost first; of many, ten that lost and three that gained most."""
    ordered = sorted((each for each in by_class.classes if each.n), key=change)
    return ordered if len(ordered) <= ALL_UP_TO else ordered[:MOST_LOST] + ordered[-MOST_GAINED:]


def classes_sentence(by_class: ByClass) -> str:
    """Say in one sentence how many classes lost and gained accuracy."""
    changes = [change(each) for each in by_class.classes if each.n]
    lost, gained = sum(each < 0 for each in changes), sum(each > 0 for each in changes)
    networks = f"from {by_class.before} to {by_class.after}"
    return f"Of {len(changes)} classes {lost} lost accuracy {networks} and {gained} gained."


def class_columns(by_class: ByClass) -> list[Column]:
    """Return the columns of a table of :func:`shown_classes` as JSON."""
    return [
        Column("Class", lambda row: row["name"], number=False),
        Column(by_class.before, lambda row: percent(row["right_before"] / row["n"])),
        Column(by_class.after, lambda row: percent(row["right_after"] / row["n"])),
        Column("Change", lambda row: points(change(ClassCounts(**row)))),
        Column("Samples", lambda row: str(row["n"])),
    ]


def confusion_columns(by_class: ByClass) -> list[Column]:
    return [
        Column("Class", lambda row: row["label"], number=False),
        Column("Predicted as", lambda row: row["answered"], number=False),
        Column(by_class.before, lambda row: str(row["before"])),
        Column(by_class.after, lambda row: str(row["after"])),
        Column("More", lambda row: f"+{row['after'] - row['before']}"),
    ]


def points(value: float, interval: Sequence[float] | None = None) -> str:
    """Format a difference as ``−1.4 points (−2.9 to +0.1)``, with a true minus sign."""
    reach = f" ({signed(interval[0])} to {signed(interval[1])})" if interval else ""
    return f"{signed(value)} points{reach}"


def signed(value: float) -> str:
    return f"{value:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0").replace("-", "−")
