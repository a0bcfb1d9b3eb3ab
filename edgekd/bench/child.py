"""``python -m edgekd.bench.child``: one JSON job from standard input, one JSON result to standard output.

The job is the first line. Standard input stays open as long as the parent lives; its end ends this process.
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgekd.errors import MeasurementError

Job = dict[str, Any]


def compare(job: Job) -> dict[str, Any]:
    from edgekd.bench.latency import compare_models

    paths = {name: Path(path) for name, path in job.pop("paths").items()}
    records = compare_models(paths, **job)
    return {name: record.to_json() for name, record in records.items()}


def memory(job: Job, runs: int = 3) -> dict[str, int]:
    from edgekd.bench.memory import peak_rss_bytes, rss_bytes
    from edgekd.bench.records import MemoryRecord
    from edgekd.bench.session import OnnxSession

    baseline = rss_bytes()
    session = OnnxSession(Path(job["path"]), threads=1, shape=job["shape"])
    feeds = session.example(job["batch"])
    for _ in range(runs):
        session.run(feeds)
    return MemoryRecord(peak_rss_bytes(), baseline).to_json()


JOBS: dict[str, Callable[[Job], dict[str, Any]]] = {"compare": compare, "memory": memory}


def pin(threads: int) -> None:
    """As many CPUs as there are threads, so that the scheduler does not move them about."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def end_with_parent() -> None:
    def wait() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def read_job() -> Job:
    line = b""
    while not line.endswith(b"\n"):
        if not (more := os.read(sys.stdin.fileno(), 4096)):
            raise MeasurementError("no job: this process is started by edgekd bench")
        line += more
    job: Job = json.loads(line)
    return job


def main() -> int:
    # What a library prints must not end up in the result.
    result = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        job = read_job()
        end_with_parent()
        pin(job.get("threads", 1))
        json.dump(JOBS[job.pop("job")](job), result)
        result.close()
    except MeasurementError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
