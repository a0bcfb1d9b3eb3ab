"""Measurements in a fresh process of their own, which the caller's thread pools and memory do not colour."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from signal import Signals
from typing import Any

from edgekd.bench.records import LatencyRecord, MemoryRecord
from edgekd.errors import MeasurementError

Shape = tuple[int, ...] | None


def compare_in_child(
    paths: Mapping[str, Path],
    reference: str | None = None,
    threads: int = 1,
    seconds: float = 5.0,
    seed: int = 0,
    batch: int = 1,
    shape: Shape = None,
    timeout_s: float | None = None,
) -> dict[str, LatencyRecord]:
    """:func:`edgekd.bench.latency.compare_models`, on as many CPUs as ``threads``."""
    files = {name: str(path) for name, path in paths.items()}
    job: dict[str, Any] = {"job": "compare", "paths": files, "reference": reference, "threads": threads}
    job |= {"seconds": seconds, "seed": seed, "batch": batch, "shape": shape}
    result = run_child(job, timeout_s or longest(len(files), seconds))
    return {name: LatencyRecord.from_json(record) for name, record in result.items()}


def memory_in_child(path: Path, batch: int = 1, shape: Shape = None, timeout_s: float = 120) -> MemoryRecord:
    """Peak memory of loading and running ``path`` in one thread."""
    job = {"job": "memory", "path": str(path), "batch": batch, "shape": shape}
    return MemoryRecord(**run_child(job, timeout_s))


def longest(models: int, seconds: float) -> float:
    """Well past the worst case: overtime, warm-up, and loading on a slow disk."""
    return 60 + models * (60 + 8 * seconds)


def run_child(job: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    """The result of ``job`` from :mod:`edgekd.bench.child`, whose process is gone on return as on error."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as line:
        try:
            process = start(reader, int(job.get("threads", 1)))
        finally:
            os.close(reader)
        with suppress(BrokenPipeError):  # its standard error says why it ended so early
            line.write(json.dumps(job) + "\n")
            line.flush()
        output, complaint = finish(process, timeout_s)
    if process.returncode != 0:
        raise MeasurementError(last_words(process.returncode, complaint))
    result: dict[str, Any] = json.loads(output)
    return result


def start(stdin: int, threads: int) -> "subprocess.Popen[str]":
    # The child imports what this process imports, and nothing that lies about in the working directory.
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONSAFEPATH": "1", "PYTHONUTF8": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path)
    command = [sys.executable, "-m", "edgekd.bench.child"]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=stdin, stdout=pipe, stderr=pipe, env=environment, encoding="utf-8", errors="replace"
    )


def finish(process: "subprocess.Popen[str]", timeout_s: float) -> tuple[str, str]:
    try:
        return process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise MeasurementError(
            f"the measurement was not done after {timeout_s:g} s and was stopped; "
            "measure fewer models at once, a smaller batch, or fewer --seconds"
        ) from error
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def last_words(code: int, complaint: str) -> str:
    lines = complaint.strip().splitlines()
    if code > 0:
        return lines[-1] if lines else f"the measuring process ended with code {code} and said nothing"
    name = Signals(-code).name
    reason = "; the system may have run out of memory" if name == "SIGKILL" else ""
    return f"the measuring process was ended by {name}{reason}" + (f": {lines[-1]}" if lines else "")
