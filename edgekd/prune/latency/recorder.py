"""ONNX Runtime's kernels one by one, as its own profiler reads them."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from onnx import ModelProto

from edgekd.bench.plan import Subject
from edgekd.bench.runtimes.onnxruntime.session import OnnxSession
from edgekd.bench.runtimes.onnxruntime.trace import KERNEL, Event, identity, last_runs

# Others on the machine only ever slow a kernel down.
FASTEST = 0.2


@dataclass(frozen=True)
class Reading:
    """A kernel's time in one inference, the profiler's own work in it included."""

    name: str
    op: str
    ms: float


class Recorder:
    """A model at batch 1 in a session whose kernels are recorded; a context, after which nothing is left of it."""

    def __init__(self, model: ModelProto | Path, threads: int):
        self._folder = TemporaryDirectory(prefix="edgekd-latency-")
        folder = Path(self._folder.name)
        if isinstance(model, ModelProto):
            (folder / "model.onnx").write_bytes(model.SerializeToString())
        self.model = folder / "model.onnx" if isinstance(model, ModelProto) else model
        self._session = OnnxSession(Subject(str(self.model)), threads, profile_to=folder / "profile")
        self.run = self._session.run

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def readings(self, runs: int) -> list[Reading]:
        """Of the last ``runs``; it records no more. What a loop runs often counts once, with all its time."""
        events: list[Event] = json.loads(self._session.end_profiling().read_text())
        inferences, _ = last_runs(events, runs)
        spent = [_spent(kernels) for kernels in inferences]
        first = {identity(event): event for event in inferences[0]}
        return [
            # The profiler cuts to whole microseconds.
            Reading(
                event["name"].removesuffix(KERNEL),
                event["args"]["op_name"],
                (fast([each.get(key, 0) for each in spent]) + 0.5) / 1e3,
            )
            for key, event in first.items()
        ]


def fast(times: Sequence[float]) -> float:
    """The mean of the fastest fifth: about the tenth percentile, in finer steps than those of the clock."""
    ordered = np.sort(np.asarray(times, dtype=np.float64))
    return float(ordered[: max(1, round(FASTEST * len(ordered)))].mean())


def _spent(kernels: Sequence[Event]) -> dict[tuple[str, str], int]:
    microseconds: dict[tuple[str, str], int] = defaultdict(int)
    for event in kernels:
        microseconds[identity(event)] += event["dur"]
    return microseconds
