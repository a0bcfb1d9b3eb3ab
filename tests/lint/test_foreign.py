"""Files as other tools write them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edgekd.errors import ModelError
from edgekd.lint import lint
from edgekd.lint.graph import LintGraph
from edgekd.lint.layer import quantised
from tests.lint.graphs import I8, U8, Net, run

FEED = np.random.default_rng(1).standard_normal((2, 16, 8, 8)).astype(np.float32)


def float_model() -> onnx.ModelProto:
    net = Net()
    one = net.node("Relu", net.conv("x", net.float_weight(), net.float_weight(16), name="one"))
    two = net.conv(one, net.float_weight(), net.float_weight(16), name="two")
    total = net.node("Relu", net.node("Add", two, one, name="sum"))
    flat = net.node("Flatten", net.node("GlobalAveragePool", total, name="pool"))
    head = net.node("Gemm", flat, net.float_weight(10, 16), net.float_weight(10), name="head", transB=1)
    return net.model(head, opset=17)


class Calibration(CalibrationDataReader):
    def __init__(self) -> None:
        self.batches = iter([{"x": FEED}])

    def get_next(self) -> dict:
        return next(self.batches, None)


def quantise(folder: Path, **options) -> onnx.ModelProto:
    onnx.save(float_model(), folder / "float.onnx")
    quantize_static(folder / "float.onnx", folder / "int8.onnx", Calibration(), **options)
    return onnx.load(folder / "int8.onnx")


@pytest.mark.parametrize("target", ["onnxruntime-x86-vnni", "onnxruntime-arm"])
def test_quantize_static(tmp_path, target):
    made = quantise(tmp_path, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True)
    found = lint(made, target)
    assert (found.coverage, found.disagreements) == (1.0, ())
    assert {"one", "two", "sum", "head"} <= {layer.name for layer in found.layers}


def test_quantize_static_with_symmetric_activations(tmp_path):
    """It keeps each ReLU between two pairs then."""
    made = quantise(
        tmp_path,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        extra_options={"ActivationSymmetric": True},
    )
    found = lint(made, "onnxruntime-arm")
    assert (found.coverage, found.disagreements) == (1.0, ())
    assert [layer.rule for layer in found.layers if layer.op == "Relu"] == ["clamp_between_pairs"] * 2
    on_x86 = lint(made, "onnxruntime-x86-vnni")
    assert ([layer.name for layer in on_x86.layers if not layer.int8 and layer.op == "Conv"], on_x86.disagreements) == (
        ["two"],
        (),
    )
    refused = lint(made, "tensorrt")
    assert refused.refused
    assert refused.layers[0].rule == "bias_quantised"


def test_qoperator_format_is_another_thing(tmp_path):
    made = quantise(tmp_path, quant_format=QuantFormat.QOperator)
    with pytest.raises(ModelError, match=r"the file holds QLinearConv.*quant_format=QDQ"):
        lint(made, "onnxruntime-arm")


def test_a_float_file():
    found = lint(float_model(), "onnxruntime-x86")
    assert (found.coverage, found.disagreements) == (0.0, ())
    assert [(layer.name, layer.rule) for layer in found.layers] == [
        (n, "not_quantised") for n in ("one", "two", "head")
    ]


@pytest.mark.parametrize("target", ["onnxruntime-x86-vnni", "onnxruntime-arm"])
def test_constants_and_identities_in_between(target):
    """As PyTorch's exporters write: weights in Constant nodes, Identity anywhere, quantisers shared."""
    net = Net()

    def node(value):
        return net.node("Identity", net.node("Constant", value=onnx.numpy_helper.from_array(np.asarray(value))))

    weight = net.node(
        "DequantizeLinear",
        node(np.ones((16, 16, 3, 3), np.int8)),
        *(node(np.full(16, 0.01, np.float32)), node(np.zeros(16, np.int8))),
        axis=0,
    )
    start = net.pair("x")
    one = net.node("Identity", net.conv(net.node("Identity", start), net.node("Identity", weight), name="one"))
    both = net.node("Add", net.pair(net.node("Dropout", net.node("Relu", one))), start, name="sum")
    head = net.conv(net.pair(net.node("Relu", both)), weight, name="two")
    found = lint(net.model(net.pair(net.node("Identity", head))), target)
    assert (found.coverage, found.disagreements) == (1.0, ())
    assert [layer.findings for layer in found.layers] == [(), (), ()]


def test_a_weight_turned_behind_its_quantiser():
    """A Linear as MatMul: the scales lie on axis 0 of the stored weight and on axis 1 of what is multiplied."""
    net = Net()
    turned = net.node("Transpose", net.weight((10, 1024), axis=0), perm=[1, 0])
    flat = net.pair(net.node("Flatten", "x"))
    model = net.model(net.node("MatMul", flat, turned, name="layer"))
    found = lint(model, "onnxruntime-x86-vnni")
    assert (found.layers[0].findings, found.coverage, found.disagreements) == ((), 1.0, ())


def test_weights_in_float_are_quantised_as_the_operator_does():
    net = Net()
    scales, zeros = np.geomspace(1e-3, 1e-1, 16).astype(np.float32), np.full(16, 3, np.int8)
    model = net.model(net.conv(net.pair("x"), net.pair(net.float_weight(), zeros, scales, axis=0)))
    graph = LintGraph(model)
    quantiser = graph.quantiser(
        next(node for node in graph.nodes if node.op_type == "QuantizeLinear" and node.attribute)
    )
    ours = quantised(graph.constant(quantiser.node.input[0]), quantiser)

    only = Net()
    only.stored, only.nodes = net.stored, [quantiser.node]
    alone = only.model(quantiser.node.output[0])
    alone.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT8
    np.testing.assert_array_equal(ours, run(alone, FEED))
    assert {ours.min(), ours.max()} == {-128, 127}


def test_coverage_of_layers_where_shapes_are_open():
    net = Net()
    y = net.pair(net.conv(net.pair("x", U8(0)), name="one"))
    y = net.conv(y, net.float_weight(), name="two")
    found = lint(net.model(y, shape=("batch", 16, "height", "width")), "onnxruntime-arm")
    assert (found.coverage_of, found.coverage) == ("layers", 0.5)
    assert [layer.macs for layer in found.layers] == [None, None]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("onnxruntime-x86-vni", r"unknown target of the linter .*did you mean 'onnxruntime-x86-vnni'\?"),
        ("onnxruntime-arm", "none of Conv, ConvTranspose, Gemm, MatMul: there is nothing to run in int8"),
    ],
)
def test_errors(target, message):
    net = Net()
    with pytest.raises(ModelError, match=message):
        lint(net.model(net.pair("x", I8(0))), target)
