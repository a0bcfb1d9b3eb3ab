"""The parser on a profile as ONNX Runtime 1.23 writes it, shortened."""

import pytest

from edgekd.bench.profile.layers import LayerTime
from edgekd.bench.profile.trace import Trace, steps_of, trace_to_json
from edgekd.errors import MeasurementError


def kernel(name: str, op: str, index: int, ts: int, dur: int) -> dict:
    facts = {"op_name": op, "node_index": str(index), "activation_size": "12", "output_size": "8"}
    shapes = {"input_type_shape": [{"float": [1, 3]}], "output_type_shape": [{"float": [1, 2]}]}
    place = {"cat": "Node", "pid": 1, "tid": 2, "ph": "X", "ts": ts, "dur": dur}
    return {**place, "name": f"{name}_kernel_time", "args": {**facts, **shapes, "provider": "CPUExecutionProvider"}}


def run(ts: int, first: int, second: int) -> list[dict]:
    whole = {"cat": "Session", "name": "model_run", "ph": "X", "ts": ts, "dur": first + second + 4, "args": {}}
    return [kernel("head", "Gemm", 7, ts + 2 + first, second), kernel("stem", "Conv", 9, ts + 1, first), whole]


WARM_UP = run(1000, 900, 90)
EVENTS = [*WARM_UP, *run(3000, 10, 5), *run(4000, 30, 5), *run(5000, 20, 6)]


def test_warm_up_runs_are_dropped_and_medians_taken_of_the_rest():
    inferences, total_ms = Trace.from_json(EVENTS).last(3)
    stem, head = steps_of(inferences)
    assert total_ms == 0.030
    assert (stem.name, stem.op, stem.inputs, stem.activation_bytes) == ("stem", "Conv", (("float", (1, 3)),), 12)
    # whole microseconds stand for the time up to the next one
    assert stem.ms == pytest.approx(0.0205)
    assert 0.005 <= head.ms < 0.006


def test_a_step_of_a_loop_counts_once_with_all_its_time():
    events = [*run(1000, 10, 5), kernel("loop", "Loop", 1, 1001, 17), kernel("stem", "Conv", 9, 1018, 7)]
    events[2]["dur"] = 40
    stem, head = steps_of(Trace.from_json(events).last(1)[0])
    assert stem.ms == pytest.approx(0.0175)
    assert head.name == "head"


def test_a_profile_that_overflowed_is_refused():
    with pytest.raises(MeasurementError, match="recorded 4 of 5 runs.*give fewer --runs"):
        Trace.from_json(EVENTS).last(5)


def test_the_trace_carries_the_layers_names():
    inferences, _ = Trace.from_json(EVENTS).last(1)
    layer = LayerTime("features.0", "Conv", 0.02, macs=6, bytes=24, precision="float32")
    [first, second] = trace_to_json(inferences, {"stem": layer})["traceEvents"]
    assert (first["name"], first["cat"], first["ts"], first["dur"]) == ("features.0", "Conv", 5001, 20)
    assert first["args"] == {"node": "stem", "name": "features.0", "macs": 6, "bytes": 24, "precision": "float32"}
    assert second["args"]["node"] == "head"
