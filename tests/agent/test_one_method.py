"""Nothing of the method of timing stands twice: its constants, its functions, and the places that read a clock."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekd.bench import runner
from edgekd.devices import latency
from tests.house import HOUSE

# Rooms that time models. Others have constants and functions of these names for something else.
ROOMS = ("agent", "bench", "devices", "runtimes", "stats")

CONSTANTS = {
    "agent/blocks.py": ("BLOCK_S",),
    "agent/child.py": (
        "TAKEN_FROM_ONE",
        "TAKEN_FROM_POOL",
    ),
    "agent/clock.py": ("PATIENCE", "STEADY", "WARM_UP_RUNS"),
    "agent/threads.py": ("REAL_TIME_PRIORITY", "REST_S", "WORKING"),
    "agent/turns.py": ("MIN_ROUNDS", "OVERTIME"),
    "bench/compare.py": ("MIN_FOR_P99", "PERCENTILES"),
    "bench/environment.py": ("BUSY_SHARE",),
    "bench/validity.py": ("INVALIDATING",),
    "bench/runner.py": ("DRIFT", "GROWTH", "LONGEST", "MIN_COUNTED_ROUNDS", "STOPPING_CONFIDENCE", "WIDE"),
    "bench/undisturbed.py": ("MINORITY", "MOST_LOST", "MOST_TAKEN", "NEGLIGIBLE"),
    "stats/ratios.py": ("MIN_LAUNCHES", "RESAMPLES"),
}
FUNCTIONS = {
    "agent/blocks.py": ("run_block", "runs_per_block"),
    "agent/clock.py": ("collect", "collector_off", "is_steady"),
    "agent/cpus.py": ("governor", "pin_to", "pinned_to", "quietest", "throttle_events", "usable_cpus"),
    "agent/turns.py": ("take_turns",),
    "bench/compare.py": ("ratio_to", "summarise"),
    "bench/runner.py": ("is_decided", "is_enough", "is_narrow"),
    "bench/undisturbed.py": ("costs", "levelled", "paired_costs", "undisturbed"),
    "stats/percentiles.py": ("percentile", "percentile_interval", "relative_spread"),
    "stats/ratios.py": ("ratio_of_medians", "ratio_over_launches", "stretched"),
}
CLOCKS = {
    "bench/compare.py": "how long all warm-ups took, by which the runtime's threads are known",
    "bench/profile/bandwidth.py": "copies of memory, by several threads at once",
    "prune/sensitivity.py": "whether there is time for one more layer",
    "runtimes/tensorrt/builder.py": "seconds of a build",
    "runtimes/tensorrt/on_device.py": "seconds of a build",
}
SESSIONS = {
    "bundle/session.py": "predictions where a bundle is installed, with threads and errors of its own",
    "runtimes/onnxruntime/confirm.py": "the file as it is optimised, which is never run",
    "runtimes/onnxruntime/peak.py": "operators for the roofline, each a model in memory",
    "runtimes/onnxruntime/session.py": "times and outputs of files, here and on devices",
}


def names_of(tree: ast.Module) -> Iterator[str]:
    """Yield what a module assigns and defines at its top."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            each = target.elts if isinstance(target, ast.Tuple) else [target]
            yield from (name.id for name in each if isinstance(name, ast.Name))


@pytest.fixture(scope="module")
def places() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for room in ROOMS:
        for path in sorted((HOUSE / room).rglob("*.py")):
            for name in names_of(ast.parse(path.read_text())):
                found.setdefault(name, []).append(path.relative_to(HOUSE).as_posix())
    return found


@pytest.mark.parametrize("table", [CONSTANTS, FUNCTIONS], ids=["constants", "functions"])
def test_each_stands_once(places, table):
    expected = {name: [place] for place, names in table.items() for name in names}
    assert {name: places.get(name) for name in expected} == expected


def files_with(pattern: str) -> set[str]:
    return {path.relative_to(HOUSE).as_posix() for path in HOUSE.rglob("*.py") if re.search(pattern, path.read_text())}


def outside_the_agent(files: set[str]) -> set[str]:
    return {file for file in files if Path(file).parts[0] != "agent"}


def test_the_agent_alone_times_inferences():
    assert outside_the_agent(files_with(r"\bperf_counter(_ns)?\(|\btimeit\b|cuda\.Event\(")) == set(CLOCKS)


def test_who_opens_sessions_of_onnx_runtime():
    assert files_with(r"\bInferenceSession\(") == set(SESSIONS)


def test_devices_stop_and_record_as_this_machine_does():
    assert latency.request_of is runner.request_of
    assert latency.run_launches is runner.run_launches
    assert latency.record is runner.record
