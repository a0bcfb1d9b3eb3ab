"""Nothing of the method of timing stands twice: its constants, its functions, and the places that read a clock."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekd.bench import runner
from edgekd.devices import latency
from edgekd.runtimes.tensorrt.remote import latency as engines
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
    "bench/runner.py": (
        *("WITH_OTHERS", "BETWEEN_SITTINGS", "DRIFT", "GROWTH", "LONGEST", "MIN_COUNTED_ROUNDS"),
        *("STOPPING_CONFIDENCE", "WIDE"),
    ),
    "bench/undisturbed.py": ("MINORITY", "MOST_LOST", "MOST_TAKEN", "NEGLIGIBLE"),
    "stats/ratios.py": ("MIN_LAUNCHES", "RESAMPLES"),
}
FUNCTIONS = {
    "agent/blocks.py": ("run_block", "runs_per_block"),
    "agent/clock.py": ("collect", "collector_off", "is_steady"),
    "agent/cpus.py": ("governor", "pin_to", "pinned_to", "quietest", "throttle_events", "usable_cpus"),
    "agent/turns.py": ("take_turns",),
    "bench/compare.py": ("ratio_to", "summarise"),
    "bench/runner.py": ("is_decided", "is_enough", "is_narrow", "too_few_samples"),
    "bench/surroundings.py": ("neighbours_not_seen", "surroundings_warnings", "too_few_cpus"),
    "bench/undisturbed.py": ("costs", "levelled", "paired_costs", "undisturbed"),
    "stats/percentiles.py": ("percentile", "percentile_interval", "relative_spread"),
    "stats/ratios.py": ("ratio_of_medians", "ratio_over_launches", "stretched", "widened"),
}
# Functions of one name in several places, and why they are no doubles; parts of runtimes have one name in each.
NAMESAKES = {
    "check": "a release of trtexec, and a rule of the linter",
    "describe": "lines of text on a device, on layers of a DLA, and on those of an engine",
    "engine_for": "an engine in a cache here, and the request for one on a device",
    "keep": "rows of predictions, and a file in the cache there",
    "macs_of": "of a step of a profile, and of a layer that an engine describes",
    "main": "programs",
    "memory": "of a machine, as it says it and in words; and the most that a model takes",
    "number": "checked in what a device sends, and read from a file of its sensors",
    "one_line": "the message of any error, and the last sentence of a runtime's own",
    "open_sizes": "the size of each open dimension, and the three that an engine is built for",
    "packed": "an array as a record of the agent holds it, and samples as a file that is copied to a device",
    "packages": "of the processor, of Python here, and of Python there, in words",
    "probe": "the facts of a machine, and the way to ask a device for them",
    "read": "a cache of rates, and an ONNX file",
    "record": "what launches say of a model, and the events of a profile",
    "request_of": "the job of launches, and that of inferences in turns",
    "run_launches": "where models run, and where their records arrive",
    "sample": "copies to and from a GPU, and calls in this process",
    "transfers_of": "read from what the agent sends, and summarised",
}
CLOCKS = {
    "bench/compare.py": "how long all warm-ups took, by which the runtime's threads are known",
    "bench/profile/bandwidth.py": "copies of memory, by several threads at once",
    "runtimes/tensorrt/builder.py": "seconds of a build",
    "runtimes/tensorrt/on_device.py": "seconds of a build",
}
SESSIONS = {
    "bundle/session.py": "predictions where a bundle is installed, with threads and errors of its own",
    "runtimes/onnxruntime/confirm.py": "the file as it is optimised, which is never run",
    "runtimes/onnxruntime/peak.py": "operators for the roofline, each a model in memory",
    "runtimes/onnxruntime/session.py": "times and outputs of files, here and on devices",
    "stages/int8_teacher.py": "a teacher's predictions while a student is trained",
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


def test_no_function_stands_twice():
    found: dict[str, list[Path]] = {}
    for path in (each for room in ROOMS for each in sorted((HOUSE / room).rglob("*.py"))):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(path)
    doubles = {name for name, paths in found.items() if len(paths) > 1 and not are_parts_of_runtimes(paths)}
    assert doubles == set(NAMESAKES)


def are_parts_of_runtimes(paths: list[Path]) -> bool:
    runtimes = [path.relative_to(HOUSE).parts[1] for path in paths if path.is_relative_to(HOUSE / "runtimes")]
    return len(set(runtimes)) == len(paths)


def test_a_warning_is_given_by_one_rule():
    found: dict[str, list[str]] = {}
    for path in HOUSE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="MeasurementWarning"), args=[ast.Constant(value=str(code)), *_]):
                    found.setdefault(code, []).append(path.relative_to(HOUSE).as_posix())
    assert {code: places for code, places in found.items() if len(places) > 1} == {}
    assert {"too_few_cpus", "too_few_samples", "neighbours_not_seen"} <= set(found)


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
    assert engines.collect_launches is latency.collect_launches
