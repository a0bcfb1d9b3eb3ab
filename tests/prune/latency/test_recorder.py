import json

import numpy as np
import onnx
import pytest
from onnx import helper

from edgekd.errors import MeasurementError
from edgekd.prune.latency.recorder import Recorder, fast

EDGE = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 300, 300])


def products(count: int) -> onnx.ModelProto:
    names = ["x", *(f"y{index}" for index in range(count))]
    nodes = [helper.make_node("MatMul", ["x", name], [f"y{index}"], name=f"product_{index}") for index, name in
             enumerate(names[:-1])]  # fmt: skip
    result = helper.make_tensor_value_info(names[-1], onnx.TensorProto.FLOAT, ["batch", 300, 300])
    graph = helper.make_graph(nodes, "products", [EDGE], [result])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_the_fastest_fifth():
    times = np.random.default_rng(0).permutation(np.arange(1, 51))
    assert fast(times) == np.mean(np.arange(1, 11))
    assert fast([7, 3]) == 3


def test_each_kernel_is_read():
    with Recorder(products(3), threads=1) as recorder:
        for _ in range(6):
            recorder.run()
        folder = recorder.model.parent
        events = 0
        read = recorder.readings(5)
        events = [json.loads(path.read_text()) for path in folder.glob("profile*.json")]
    assert [reading.name for reading in read] == ["product_0", "product_1", "product_2"]
    [events] = events
    for reading in read:
        times = [event["dur"] for event in events if event["name"] == f"{reading.name}_kernel_time"]
        assert reading.ms == (min(times[1:]) + 0.5) / 1e3  # a fifth of five is one
        assert reading.op == "MatMul"
    assert not folder.exists()


def test_more_runs_than_there_were():
    with Recorder(products(1), threads=1) as recorder:
        recorder.run()
        with pytest.raises(MeasurementError, match="recorded 1 of 2 runs"):
            recorder.readings(2)
