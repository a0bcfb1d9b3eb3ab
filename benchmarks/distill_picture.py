"""The picture of the methods: what each adds to a student that learns from labels alone."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from edgekd.files import write_bytes
from edgekd.report.plots import COLOURS, STYLE

SHOWN_SEEDS = 2


def picture(rows: Sequence[dict[str, Any]], plain: str, path: Path) -> None:
    """A PNG of points over ``plain`` with their intervals, one panel for each student, the best method on top."""
    students = list(dict.fromkeys(row["student"] for row in rows))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2 * len(students), 4.2), layout="constrained")
        for number, student in enumerate(students):
            axes = figure.add_subplot(1, len(students), number + 1)
            own = [row for row in rows if row["student"] == student and row["method"] != plain]
            own.sort(key=lambda row: row["over_plain"]["points"])
            for place, row in enumerate(own):
                over, several = row["over_plain"], len(row["right"]) >= SHOWN_SEEDS
                axes.plot(over["ci95"], [place, place], color=COLOURS[1], linewidth=1.6, alpha=1 if several else 0.45)
                axes.plot(
                    over["points"], place, "o", color=COLOURS[1], markerfacecolor=COLOURS[1] if several else "white"
                )
            axes.axvline(0, color=COLOURS[0], linewidth=0.8)
            axes.set_yticks(range(len(own)), [row["method"] for row in own])
            axes.set_xlabel(f"points over {plain}, 95 %\n(filled: several seeds)")
            axes.set_title(student)
            axes.grid(axis="x")
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    write_bytes(path, image.getvalue())
