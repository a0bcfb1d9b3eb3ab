"""Writes the tables of the documentation from the recorded figures.

    python benchmarks/pages.py

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; what is between is replaced.
"""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path

import distill_tables
import factorize_tables
import fit_tables
import gate_tables
import harness_tables
import tables
import task_tables
from tables import Record

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
PAGES = (
    *("docs/quantization.md", "docs/pruning.md", "docs/distillation.md", "docs/ci.md"),
    *("docs/factorization.md", "docs/tasks.md", "docs/benchmarking.md", "docs/runs.md"),
    *("docs/openvino.md", "docs/fit.md"),
)
TABLES: dict[str, tuple[str, Callable[[Record], str]]] = {
    "speed": ("quantize_peers", tables.speed),
    "speed_in_openvino": ("quantize_peers_openvino", tables.speed_in_openvino),
    "accuracy": ("quantize_accuracy", tables.accuracy),
    "half_latency": ("prune_latency", tables.half_latency),
    "faster": ("prune_pareto", tables.faster),
    "importances": ("prune_importance", tables.importances),
    "labels": ("distill_unlabelled", distill_tables.labels),
    "methods": ("distill_methods", distill_tables.methods),
    "throughput": ("distill_throughput", distill_tables.throughput),
    "alarms": ("gate/false_alarms", gate_tables.alarms),
    "factorised": ("factorize", factorize_tables.factorised),
    "task_chains": ("tasks", task_tables.chains),
    "task_teacher": ("tasks", task_tables.taught),
    "searched": ("fit", fit_tables.searched),
    "searched_cifar10": ("fit_cifar10", fit_tables.searched),
    "trusted": ("harness/self_comparison", harness_tables.trusted),
}


def recorded(name: str) -> Record:
    found: Record = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def filled(page: str) -> str:
    """``page`` with each of its tables as the records have it."""

    def table(match: re.Match[str]) -> str:
        record, make = TABLES[match[1]]
        return f"<!-- table: {match[1]} -->\n\n{make(recorded(record))}\n\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->.*?<!-- end -->", table, page, flags=re.DOTALL)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    for page in PAGES:
        path = ROOT / page
        path.write_text(filled(path.read_text()))


if __name__ == "__main__":
    main()
