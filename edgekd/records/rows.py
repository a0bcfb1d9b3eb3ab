"""Rows of a report as JSON: where each was taken, and which are of the last network."""

from collections.abc import Mapping
from typing import Any

# What tells the rows of one network apart.
PLACE = ("device", "runtime", "threads", "built_for")


def rows_of_last(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [row for row in report["rows"] if row.get("model") == report["rows"][-1].get("model")]


def place_of(row: Mapping[str, Any]) -> str:
    """Return what rows of two reports are matched by, as ``cpu, onnxruntime, 1 thread``."""
    threads, built_for = row.get("threads"), row.get("built_for")
    counted = [f"{threads} thread{'s' if threads != 1 else ''}"] if threads else []
    # A runtime that has one file only is named by it already.
    counted += [f"file for {built_for}"] if built_for and built_for != row.get("runtime") else []
    return ", ".join([str(row.get("device") or "cpu"), str(row.get("runtime")), *counted])
