"""One reading of ONNX graphs, for the linter and for profiles."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.bench.profile.network import Network
from edgekd.lint.graph import LintGraph
from edgekd.onnx_graph import OnnxGraph


@pytest.fixture
def model():
    nodes = [
        helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.float32(2))),
        helper.make_node("Identity", ["weight"], ["same"]),
        helper.make_node("Transpose", ["same"], ["turned"]),
        helper.make_node("Mul", ["x", "x"], ["square"]),
        helper.make_node("MatMul", ["square", "turned"], ["product"]),
        helper.make_node("Add", ["product", "two"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(np.zeros((5, 3), np.float32), "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def test_makers_readers_and_constants(model):
    graph = OnnxGraph(model.graph)
    assert [node.op_type for node in graph.nodes] == ["Constant", "Identity", "Transpose", "Mul", "MatMul", "Add"]
    assert {name: node.op_type for name, node in graph.producer.items()} == {
        "two": "Constant", "same": "Identity", "turned": "Transpose", "square": "Mul", "product": "MatMul", "y": "Add",
    }  # fmt: skip
    assert [node.op_type for node in graph.direct_readers["x"]] == ["Mul", "Mul"]
    assert graph.direct_readers["y"] == []
    assert set(graph.constants) == {"weight", "two"}
    assert numpy_helper.to_array(graph.constants["two"]) == 2


def test_a_constant_behind_operators(model):
    graph = OnnxGraph(model.graph)
    assert graph.constant_behind("turned", {"Identity", "Transpose"}).name == "weight"
    assert graph.constant_behind("turned", {"Transpose"}) is None
    assert graph.constant_behind("x", {"Identity"}) is None


def test_the_linter_and_profiles_read_alike_but_for_what_they_look_through(model, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    linted, profiled = LintGraph(model), Network(path)
    assert isinstance(linted, OnnxGraph) and isinstance(profiled, OnnxGraph)
    assert linted.constants.keys() == profiled.constants.keys()
    assert linted.stored("same").name == "weight" and linted.stored("turned") is None
    assert profiled.constant("turned").name == "weight"
    assert profiled.weight_shape(profiled.nodes[4]) == (5, 3)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"value_float": 0.5}, np.float32(0.5)),
        ({"value_floats": [0.5, 0.25]}, np.float32([0.5, 0.25])),
        ({"value_int": -3}, np.int64(-3)),
        ({"value_ints": [1, -1]}, np.int64([1, -1])),
    ],
)
def test_numbers_of_constant_nodes_are_constants(value, expected):
    graph = OnnxGraph(helper.make_graph([helper.make_node("Constant", [], ["c"], **value)], "graph", [], []))
    found = numpy_helper.to_array(graph.constants["c"])
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_text_is_no_constant_tensor():
    node = helper.make_node("Constant", [], ["c"], value_string="text")
    assert OnnxGraph(helper.make_graph([node], "graph", [], [])).constants == {}
