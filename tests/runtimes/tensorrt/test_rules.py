"""The rules for TensorRT, held against the engines of TensorRT for RTX where it is installed."""

import sys
from importlib.util import find_spec

import numpy as np
import onnx
import pytest

from edgekd.lint import lint
from tests.lint.graphs import I8, U8, Net, clean

rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed")
ZERO = I8(0)


def residual(both: bool = False, half: bool = False) -> onnx.ModelProto:
    """Placed as NVIDIA's guide says: the identity is quantised, the branch is not; ``both`` quantises it too."""
    net = Net()
    start = net.pair("x", ZERO)
    one = net.pair(net.node("Relu", net.conv(start, bias=net.float_weight(16), name="one")), ZERO)
    branch = net.conv(one, bias=net.float_weight(16), name="two")
    total = net.node("Add", net.pair(branch, ZERO) if both else branch, start, name="sum")
    pooled = net.pair(net.node("GlobalAveragePool", net.pair(net.node("Relu", total), ZERO), name="pool"), ZERO)
    flat = net.node("Flatten", pooled)
    model = net.model(
        net.node("Gemm", flat, net.weight((10, 16)), net.float_weight(10), name="head", transB=1), opset=19
    )
    return in_half(model) if half else model


def in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    return model


def convolution(weight="", x="", channels=16, **attributes) -> onnx.ModelProto:
    """One, of what ``weight`` and ``x`` make of a net."""
    net = Net()
    given = x(net) if x else net.pair("x", ZERO)
    y = net.conv(given, weight(net) if weight else net.weight((channels, channels, 3, 3)), name="layer", **attributes)
    return net.model(y, shape=("batch", channels, 8, 8))


def rules(model: onnx.ModelProto) -> dict[str, list[str]]:
    found = lint(model, "tensorrt", confirm=False)
    return {layer.name: [finding.code for finding in layer.findings] for layer in found.layers}


@rtx
def test_a_clean_file_has_nothing_said_of_it():
    found = lint(residual(half=True), "tensorrt")
    assert (found.coverage, found.findings, found.disagreements) == (1.0, (), ())
    assert not any(layer.findings for layer in found.layers)
    assert {layer.name for layer in found.layers if layer.confirmed} == {"one", "two", "head"}
    assert found.confirmed_by.startswith("tensorrt_rtx")


@rtx
def test_float32_around_is_a_note():
    found = lint(residual(), "tensorrt")
    assert [(finding.code, finding.effect) for finding in found.findings] == [("float32_rest", "note")]
    assert (found.coverage, found.disagreements) == (1.0, ())


def test_both_sides_of_a_residual_quantised():
    assert rules(residual(both=True)) == {
        "one": [],
        "two": [],
        "sum": ["residual_both_quantised"],
        "pool": [],
        "head": [],
    }


def test_an_affine_file_is_refused_before_the_parser_is_asked():
    found = lint(clean(U8(128), bias="float"), "tensorrt")
    assert found.refused
    assert found.coverage == 0
    assert found.confirmed_by is None
    assert found.not_confirmed == "tensorrt refuses the file by rule, so it was not asked"
    assert "zero point 128: TensorRT takes symmetric quantisation only" in found.layers[0].message


def test_a_refusal_far_from_any_layer_is_the_file_s():
    net = Net()
    model = net.model(net.conv(net.pair("x", ZERO), name="layer"), net.pair(net.node("Tanh", "x"), I8(3)))
    found = lint(model, "tensorrt", confirm=False)
    assert [finding.code for finding in found.findings] == ["zero_point", "float32_rest"]
    assert found.findings[0].message.endswith("(and 1 more)")


REFUSED = {
    "zero_point": lambda: convolution(x=lambda net: net.pair("x", I8(3))),
    "scale": lambda: convolution(
        lambda net: net.dq(net.constant(np.ones((16, 16, 3, 3)), np.int8), np.arange(16), axis=0)
    ),
    "uint8": lambda: convolution(lambda net: net.dq(net.constant(np.ones((16, 16, 3, 3)), np.uint8), 0.01, U8(0))),
    "bias_quantised": lambda: convolution_with_bias(),
}


def convolution_with_bias() -> onnx.ModelProto:
    net = Net()
    return net.model(net.conv(net.pair("x", ZERO), bias=net.int32_bias(), name="layer"))


@rtx
@pytest.mark.parametrize("code", REFUSED)
def test_what_the_parser_refuses(code):
    from edgekd.runtimes.tensorrt import parse_errors

    model = REFUSED[code]()
    found = lint(model, "tensorrt", confirm=False)
    assert found.refused
    assert (found.layers[0].rule, found.layers[0].findings[0].effect) == (code, "refused")
    assert parse_errors(model.SerializeToString())


CASES = {
    "12 channels": (lambda: convolution(channels=12), True, ["channels"]),
    "24 channels": (lambda: convolution(channels=24), True, []),
    "depthwise": (lambda: convolution(lambda net: net.weight((16, 1, 3, 3)), group=16), True, []),
    "two groups": (lambda: convolution(lambda net: net.weight((16, 8, 3, 3)), group=2), True, ["grouped"]),
    "axis 1": (lambda: convolution(lambda net: net.weight(axis=1)), False, ["weight_axis"]),
    "axis missing": (
        lambda: convolution(lambda net: net.dq(net.constant(np.ones((16, 16, 3, 3)), np.int8), np.full(16, 0.01))),
        False,
        ["weight_axis", "axis_missing"],
    ),
    "scales of an activation": (
        lambda: convolution(x=lambda net: net.pair("x", np.zeros(16, np.int8), np.full(16, 0.05), axis=1)),
        False,
        ["activation_per_channel"],
    ),
    "uint8": (lambda: convolution(x=lambda net: net.pair("x", U8(0))), True, ["uint8"]),
    "weights folded": (lambda: convolution(lambda net: net.float_weight()), False, ["weights_folded"]),
    "activation in float": (lambda: convolution(x=lambda net: "x"), False, ["activation_float"]),
    "all in float": (lambda: convolution(lambda net: net.float_weight(), lambda net: "x"), False, ["not_quantised"]),
    "kernel_shape missing": (lambda: convolution(kernel_shape=None), True, ["kernel_shape"]),
}


@rtx
@pytest.mark.parametrize("case", CASES)
def test_what_the_engine_confirms(case):
    model, int8, said = CASES[case]
    found = lint(model(), "tensorrt")
    [layer] = found.layers
    assert (layer.predicted, layer.confirmed) == (int8, int8)
    assert [finding.code for finding in layer.findings] == said
    assert found.coverage == int8


@rtx
def test_the_engine_s_word_stands_where_the_rules_say_another():
    """TensorRT for RTX 1.7 has no transposed convolution in int8."""
    net = Net()
    up = net.node("ConvTranspose", net.pair("x", ZERO), net.weight(axis=1), name="layer", kernel_shape=[3, 3])
    found = lint(net.model(net.pair(up, ZERO)), "tensorrt")
    assert (found.layers[0].predicted, found.layers[0].int8, found.coverage) == (True, False, 0.0)
    assert found.disagreements == ("layer",)


def test_transposed_weights_have_their_channels_on_axis_1():
    net = Net()
    up = net.node("ConvTranspose", net.pair("x", ZERO), net.weight(axis=0), name="layer", kernel_shape=[3, 3])
    assert rules(net.model(up))["layer"] == ["weight_axis"]


@pytest.mark.parametrize(
    ("out", "into", "group", "kernel", "first", "slow"),
    [
        (64, 3, 1, 3, True, False),  # the first layer may have few inputs
        (12, 3, 1, 3, True, True),
        (24, 8, 1, 3, False, False),
        (8, 8, 1, 3, False, True),
        (16, 1, 16, 3, False, False),  # depthwise in eights
        (12, 1, 12, 3, False, True),
        (16, 1, 16, 1, False, True),
    ],
)
def test_channels_as_model_optimizer_chooses_them(out, into, group, kernel, first, slow):
    net = Net()
    x = net.pair("x" if first else net.node("Abs", "x"), ZERO)
    weight = net.weight((out, into, kernel, kernel))
    y = net.conv(x, weight, name="layer", group=group, kernel_shape=[kernel, kernel])
    assert ("channels" in rules(net.model(y, shape=(1, into * group, 8, 8)))["layer"]) is slow


def test_without_tensorrt_nothing_is_confirmed(monkeypatch):
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    found = lint(residual(), "tensorrt")
    assert found.confirmed_by is None
    assert "TensorRT is not installed here" in found.not_confirmed
    assert found.coverage == 1.0
