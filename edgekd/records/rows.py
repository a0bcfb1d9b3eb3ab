"""Rows of a report as JSON: the place and the network of each, and which network is deployed."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgekd.tasks.registry import DEFAULT, TASKS
from edgekd.tasks.task import Task

# These differ between the rows of one network.
PLACE = ("device", "runtime", "threads", "built_for")
WHERE = ("runtime", "device", "threads")


def task_of(document: Mapping[str, Any]) -> type[Task]:
    """Return the task of a report or a baseline: classification, where it names none."""
    return TASKS.find(document.get("task") or DEFAULT)


def teacher_of(report: Mapping[str, Any]) -> str:
    """Return the name of the teacher: the row with that role, or before version 2 the first row."""
    rows = report["rows"]
    name: str = next((row["model"] for row in rows if row.get("role") == "teacher"), rows[0]["model"])
    return name


def deployed_of(report: Mapping[str, Any]) -> str:
    """Return the name of the deployed network: the report names it, and before version 2 it is the last."""
    name: str = (report.get("deployed") or report["rows"][-1])["model"]
    return name


def judged_at(rows: Sequence[Mapping[str, Any]]) -> int:
    """Return the position of the row that the budget is judged on, by the order of ``rows``.

    It is of the last network in the runtime of the last row, on the first device of that runtime.
    """
    last = rows[-1]
    first = next(row for row in rows if (row["runtime"], row["model"]) == (last["runtime"], last["model"]))
    where = [first.get(key) for key in WHERE]
    return max(
        place
        for place, row in enumerate(rows)
        if row["model"] == last["model"] and [row.get(key) for key in WHERE] == where
    )


def rows_of_deployed(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the deployed network, wherever it runs."""
    name = deployed_of(report)
    return [row for row in report["rows"] if row.get("model") == name]


def place_of(row: Mapping[str, Any]) -> str:
    """Return the place by which rows of two reports are matched, as ``cpu, onnxruntime, 1 thread``."""
    threads, built_for = row.get("threads"), row.get("built_for")
    counted = [f"{threads} thread{'s' if threads != 1 else ''}"] if threads else []
    # The runtime names its file already where it has one only.
    counted += [f"file for {built_for}"] if built_for and built_for != row.get("runtime") else []
    return ", ".join([str(row.get("device") or "cpu"), str(row.get("runtime")), *counted])
