"""ONNX Runtime's own profile, a Chrome trace, read as the steps of one inference."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, median_grouped
from typing import Any

from edgekd.errors import MeasurementError

Event = Mapping[str, Any]

KERNEL = "_kernel_time"
CONTAINERS = {"If", "Loop", "Scan"}  # their time is that of the steps inside, which have events of their own


@dataclass(frozen=True)
class KernelRun:
    """One kernel's run: its name in the runtime's graph, and the types and shapes of its tensors."""

    name: str
    op: str
    ms: float
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]
    activation_bytes: int
    output_bytes: int


def last_runs(events: Sequence[Event], runs: int) -> tuple[list[list[Event]], float]:
    """Return the kernels of each of the last ``runs`` inferences, and the median inference in milliseconds."""
    inferences = [event for event in events if event["name"] == "model_run"][-runs:]
    if len(inferences) < runs:
        raise MeasurementError(
            f"ONNX Runtime recorded {len(inferences)} of {runs} runs: its profile holds a million events; "
            "give fewer --runs"
        )
    kernels = sorted(filter(is_kernel, events), key=lambda event: event["ts"])
    edges = [(event["ts"], event["ts"] + event["dur"]) for event in inferences]
    split = [[event for event in kernels if start <= event["ts"] <= end] for start, end in edges]
    return split, median(event["dur"] for event in inferences) / 1e3


def is_kernel(event: Event) -> bool:
    return event["cat"] == "Node" and event["name"].endswith(KERNEL) and event["args"].get("op_name") not in CONTAINERS


def steps_of(inferences: Sequence[Sequence[Event]]) -> list[KernelRun]:
    """Return the steps in the order of the last inference; a step in a loop counts once, with all its time."""
    times: dict[tuple[str, str], list[int]] = defaultdict(list)
    for kernels in inferences:
        spent: dict[tuple[str, str], int] = defaultdict(int)
        for event in kernels:
            spent[identity(event)] += event["dur"]
        for key, microseconds in spent.items():
            times[key].append(microseconds)
    first = {identity(event): event for event in reversed(inferences[-1])}
    order = sorted(first, key=lambda key: first[key]["ts"])
    return [step_of(first[key], fine_median(times[key]) / 1e3) for key in order]


def identity(event: Event) -> tuple[str, str]:
    return event["name"], event["args"]["node_index"]


def fine_median(microseconds: Sequence[int]) -> float:
    """Return the median of times cut to whole microseconds, spread over the one that it falls in."""
    return max(0.0, float(median_grouped([time + 0.5 for time in microseconds], interval=1)))


def step_of(event: Event, ms: float) -> KernelRun:
    facts = event["args"]
    return KernelRun(
        event["name"].removesuffix(KERNEL),
        facts["op_name"],
        ms,
        typed_shapes(facts.get("input_type_shape")),
        typed_shapes(facts.get("output_type_shape")),
        int(facts.get("activation_size") or 0),
        int(facts.get("output_size") or 0),
    )


def typed_shapes(listed: Any) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((dtype, tuple(shape)) for entry in listed or () for dtype, shape in entry.items())


def chrome_trace(inferences: Sequence[Sequence[Event]], layers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the counted inferences for chrome://tracing or Perfetto, each kernel under its layer's name."""
    events = []
    for kernels in inferences:
        for event in kernels:
            about = layers.get(event["name"].removesuffix(KERNEL), {})
            place = {key: event[key] for key in ("ph", "ts", "dur", "pid", "tid")}
            events.append({"name": about.get("name", event["name"]), "cat": event["args"]["op_name"], **place})
            events[-1]["args"] = {"node": event["name"].removesuffix(KERNEL), **about}
    return {"traceEvents": events, "displayTimeUnit": "ms"}
