import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.errors import ExportError
from edgekd.runtimes.tensorrt import ParseError, parse_errors
from tests.runtimes.tensorrt.graphs import one_conv, residual_net, started

pytestmark = pytest.mark.usefixtures("rtx")


@pytest.mark.parametrize("opset", [19, 20, 21, 22, 23])
def test_a_strongly_typed_file_is_taken(opset):
    assert parse_errors(residual_net(opset=opset)) == []


REFUSED = {
    "affine": (one_conv(zero=3), "QuantizeLinear", "Non-zero zero point is not supported"),
    "zero scale": (one_conv(scale=0.0), "QuantizeLinear", "Scale coefficients must all be positive"),
    "zero weight scale": (one_conv(weight_scale=0.0), "DequantizeLinear", "Scale coefficients must all be positive"),
    "weight scale below float16": (one_conv(weight_scale=1e-9), "DequantizeLinear", "must all be positive"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_named(case):
    model, op, reason = REFUSED[case]
    [error] = parse_errors(model)
    nodes = {node.name: node.op_type for node in onnx.load_model_from_string(model).graph.node}
    assert nodes[error.node] == error.op == op
    assert reason in error.reason
    assert "/_src/" not in error.reason


def test_a_float32_scale_makes_a_float32_tensor():
    graph, x = started()
    steps = graph.constant(np.float32(0.05)), graph.constant(np.int8(0))
    x = graph.node("QuantizeLinear", graph.node("Cast", x, to=TensorProto.FLOAT), *steps)
    x = graph.node("DequantizeLinear", x, *steps)
    x = graph.conv(x, graph.int8_weight((32, 16, 3, 3)), 32, kernel_shape=[3, 3])
    [error] = parse_errors(graph.model(x, ("batch", 16, 8, 8)))
    assert error.op == "Conv"
    assert "`input` type is Float but `kernel` is of type Half" in error.reason


@pytest.mark.parametrize("model", [one_conv(kernel=False), one_conv(scale=np.full(16, 0.05), axis=1)])
def test_what_other_releases_refuse_is_taken_by_this_one(model):
    assert parse_errors(model) == []


@pytest.mark.parametrize("model", [b"", b"no model at all", residual_net()[:300]])
def test_what_is_no_onnx_file(model):
    with pytest.raises(ExportError, match=f"{len(model)} bytes"):
        parse_errors(model)


def test_a_name_that_is_no_text(capfd):
    model = one_conv(zero=3)
    [error] = parse_errors(model)
    [damaged] = parse_errors(model.replace(error.node.encode(), b"\xff" * len(error.node)))
    assert (damaged.node, damaged.op, damaged.reason) == ("", error.op, error.reason)
    assert capfd.readouterr().out == ""


def test_a_cycle_is_an_error_of_the_file(capfd):
    model = onnx.load_model_from_string(residual_net())
    model.graph.node[3].input[0] = model.graph.node[12].output[0]
    [error] = parse_errors(model.SerializeToString())
    assert (error.node, error.op) == ("", "")
    assert "topologically" in str(error)
    assert capfd.readouterr().out == ""


def test_weights_in_another_file_are_refused(tmp_path, monkeypatch):
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    (tmp_path / "w.bin").write_bytes(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "w.bin"
    edges = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4))] for name in "xy"]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "outside", *edges, [weight])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportError, match="'w' keeps its weights in another file"):
        parse_errors(helper.make_model(graph).SerializeToString())


def test_an_error_in_words():
    assert str(ParseError("conv1", "Conv", "no kernel")) == "Conv 'conv1': no kernel"
    assert str(ParseError("", "", "no graph")) == "no graph"
