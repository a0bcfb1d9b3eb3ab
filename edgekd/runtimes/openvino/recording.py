"""The times of a session's nodes as the events of a Chrome trace, in the form of ONNX Runtime's profile.

OpenVINO tells of each node the mean of its times since the model was compiled, in whole microseconds. So the model is
compiled anew for every few inferences, and the first of them are subtracted: each event has the mean of its round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from edgekd.runtimes.openvino.execution import ExecutedNode, executed_nodes

# Inferences of a round that count, and before them. A mean is off by (BEFORE + ROUND / 2) / ROUND microseconds.
ROUND, BEFORE = 10, 2
EXECUTED = "EXECUTED"
BYTES = {"float16": 2, "bfloat16": 2, "uint8": 1, "int8": 1, "bool": 1, "int64": 8}


class Recorded(Protocol):
    """A session whose model can be compiled again."""

    compiled: Any
    request: Any

    def compile_again(self) -> None:
        """Compile the model: the times of its nodes begin anew."""


class Recording:
    """The inferences of ``session``, which is compiled anew between its rounds."""

    def __init__(self, session: Recorded):
        self._session = session
        self._nodes: list[ExecutedNode] = []
        self._inferences: list[dict[str, float]] = []
        self._runs = 0
        self._before: dict[str, float] = {}

    def run(self, infer: Callable[[], Any]) -> Any:
        """Run an inference, the first of a round on a model that is compiled for it."""
        if self._runs == BEFORE + ROUND:
            self._close()
            self._session.compile_again()
        result = infer()
        self._runs += 1
        if self._runs == BEFORE:
            self._before = self._totals()
        return result

    def to_json(self) -> list[dict[str, Any]]:
        """Return all inferences as a Chrome trace, the nodes of each one after the other; it ends the recording."""
        self._close()
        found = []
        clock = 0.0
        for spent in self._inferences:
            begun = clock
            for index, node in enumerate(self._nodes):
                if node.name in spent:
                    found.append(_event_json(node, index, clock, spent[node.name]))
                    clock += spent[node.name]
            found.append({"cat": "Session", "name": "model_run", "ts": begun, "dur": clock - begun})
            clock += 1.0
        return found

    def _close(self) -> None:
        if not self._nodes:
            self._nodes = executed_nodes(self._session.compiled)
        runs = self._runs - BEFORE
        if runs > 0:
            means = {
                name: max(0.0, total - self._before.get(name, 0.0)) / runs for name, total in self._totals().items()
            }
        elif self._inferences:
            means = self._inferences[-1]
        else:
            means = {name: total / max(1, self._runs) for name, total in self._totals().items()}
        self._inferences += [means] * self._runs
        self._runs = 0

    def _totals(self) -> dict[str, float]:
        """Return the microseconds of each node in the inferences of this round so far."""
        executed = (each for each in self._session.request.get_profiling_info() if each.status.name == EXECUTED)
        return {each.node_name: each.real_time.total_seconds() * 1e6 * self._runs for each in executed}


def _event_json(node: ExecutedNode, index: int, start: float, duration: float) -> dict[str, Any]:
    name = node.origins[0] if node.origins else node.name
    args = {
        **{"op_name": node.op, "node_index": str(index)},
        "input_type_shape": [{dtype: list(shape)} for dtype, shape in node.inputs],
        "output_type_shape": [{dtype: list(shape)} for dtype, shape in node.outputs],
        "activation_size": sum(_nbytes(*each) for each in node.inputs[:1]),
        "output_size": sum(_nbytes(*each) for each in node.outputs),
    }
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": start, "dur": duration, "args": args}


def _nbytes(dtype: str, shape: Any) -> int:
    size = BYTES.get(dtype, 4)
    for dim in shape:
        size *= int(dim)
    return size
