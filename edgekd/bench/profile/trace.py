"""ONNX Runtime's own profile, a Chrome trace, read as the steps of one inference."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median, median_grouped
from typing import Any

from edgekd.bench.profile.layers import LayerTime
from edgekd.errors import MeasurementError

TypedShapes = tuple[tuple[str, tuple[int, ...]], ...]

KERNEL = "_kernel_time"
CONTAINERS = {"If", "Loop", "Scan"}  # their time is that of the steps inside, which have events of their own


def family(op: str) -> str:
    """Return one name for all variants of an operator: ``Conv``, ``MatMul``, or ``Add`` for one in int8."""
    if "Conv" in op:
        return "Conv"
    return "MatMul" if "MatMul" in op or "Gemm" in op else op.removeprefix("QLinear")


def is_weighted(op: str) -> bool:
    return family(op) in ("Conv", "MatMul")


@dataclass(frozen=True)
class KernelRun:
    """One kernel's run: its name and node in the runtime's graph, and the types and shapes of its tensors.

    ``start`` and ``duration`` are microseconds.
    """

    name: str
    op: str
    node: str
    start: float
    duration: float
    inputs: TypedShapes
    outputs: TypedShapes
    activation_bytes: int
    output_bytes: int
    process: int
    thread: int

    @property
    def ms(self) -> float:
        return self.duration / 1e3

    @property
    def identity(self) -> tuple[str, str]:
        return self.name, self.node

    @classmethod
    def from_json(cls, event: Mapping[str, Any]) -> "KernelRun":
        facts = event["args"]
        return cls(
            event["name"].removesuffix(KERNEL),
            facts["op_name"],
            facts["node_index"],
            event["ts"],
            event["dur"],
            typed_shapes(facts.get("input_type_shape")),
            typed_shapes(facts.get("output_type_shape")),
            int(facts.get("activation_size") or 0),
            int(facts.get("output_size") or 0),
            event.get("pid", 0),
            event.get("tid", 0),
        )


def typed_shapes(listed: Any) -> TypedShapes:
    return tuple((dtype, tuple(shape)) for entry in listed or () for dtype, shape in entry.items())


@dataclass(frozen=True)
class Trace:
    """The inferences of a session, by start and duration in microseconds, and the kernels in the order they ran."""

    inferences: Sequence[tuple[float, float]]
    kernels: Sequence[KernelRun]

    @classmethod
    def from_json(cls, events: Sequence[Mapping[str, Any]]) -> "Trace":
        inferences = [(event["ts"], event["dur"]) for event in events if event["name"] == "model_run"]
        kernels = [
            KernelRun.from_json(event)
            for event in events
            if event["cat"] == "Node"
            and event["name"].endswith(KERNEL)
            and event["args"].get("op_name") not in CONTAINERS
        ]
        return cls(inferences, sorted(kernels, key=lambda kernel: kernel.start))

    def last(self, runs: int) -> tuple[list[Sequence[KernelRun]], float]:
        """Return the kernels of each of the last ``runs`` inferences, and the median inference in milliseconds."""
        inferences = self.inferences[-runs:]
        if len(inferences) < runs:
            raise MeasurementError(
                f"the runtime recorded {len(inferences)} of {runs} runs: its profile holds a million events; "
                "give fewer --runs"
            )
        starts = [kernel.start for kernel in self.kernels]
        edges = [(bisect_left(starts, start), bisect_right(starts, start + spent)) for start, spent in inferences]
        return [self.kernels[first:end] for first, end in edges], median(spent for _, spent in inferences) / 1e3


def steps_of(inferences: Sequence[Sequence[KernelRun]]) -> list[KernelRun]:
    """Return the steps in the order of the last inference, each with its median time over the inferences.

    A step in a loop counts once, with all its time.
    """
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for kernels in inferences:
        spent: dict[tuple[str, str], float] = defaultdict(int)
        for kernel in kernels:
            spent[kernel.identity] += kernel.duration
        for key, microseconds in spent.items():
            times[key].append(microseconds)
    first = {kernel.identity: kernel for kernel in reversed(inferences[-1])}
    order = sorted(first.values(), key=lambda kernel: kernel.start)
    return [replace(kernel, duration=fine_median(times[kernel.identity])) for kernel in order]


def fine_median(microseconds: Sequence[float]) -> float:
    """Return the median of times cut to whole microseconds, spread over the one that it falls in."""
    return max(0.0, float(median_grouped([time + 0.5 for time in microseconds], interval=1)))


def trace_to_json(inferences: Sequence[Sequence[KernelRun]], layers: Mapping[str, LayerTime]) -> dict[str, Any]:
    """Return the inferences for chrome://tracing or Perfetto, each kernel under the name of its layer.

    ``layers`` are by the kernels' own names.
    """
    events = []
    for kernel in (kernel for kernels in inferences for kernel in kernels):
        layer, args = layers.get(kernel.name), dict[str, Any](node=kernel.name)
        if layer:
            args |= {"name": layer.name, "macs": layer.macs, "bytes": layer.bytes, "precision": layer.precision}
        shown = {"name": layer.name if layer else kernel.name + KERNEL, "cat": kernel.op, "ph": "X"}
        place = {"ts": kernel.start, "dur": kernel.duration, "pid": kernel.process, "tid": kernel.thread}
        events.append({**shown, **place, "args": args})
    return {"traceEvents": events, "displayTimeUnit": "ms"}
