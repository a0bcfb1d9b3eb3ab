"""Planted cases: each found by its rule, and each shown to be real by the graph that OpenVINO executes."""

import numpy as np
import onnx
import pytest

from edgekd.lint import lint
from tests.lint.graphs import I8, U8, Net, clean

TARGET = "openvino-x86-vnni"


def found_in(model: onnx.ModelProto) -> dict[str, tuple[bool, str | None]]:
    """Layers by name: whether they compute in int8, on which the rules and the runtime agree, and by which rule."""
    found = lint(model, TARGET)
    assert found.confirmed_by.startswith("OpenVINO"), found.not_confirmed
    assert found.disagreements == ()
    return {layer.name: (layer.int8, layer.rule) for layer in found.layers}


def several(*parts) -> dict[str, tuple[bool, str | None]]:
    """Each of ``parts`` adds a layer called after its number to one network: OpenVINO is asked once."""
    net = Net()
    return found_in(net.model(*(part(net, str(number)) for number, part in enumerate(parts))))


def test_a_clean_file_has_nothing_said_of_it():
    for zero in (U8(100), I8(0)):
        found = lint(clean(zero), TARGET)
        assert (found.coverage, found.disagreements) == (1.0, ())
        assert all(layer.int8 and layer.confirmed and not layer.findings for layer in found.layers)


def test_inputs_and_weights_of_convolutions():
    def clipped(net: Net) -> str:
        codes = net.q(net.float_weight(), 0.01, I8(0))
        return net.dq(net.node("Clip", codes, net.constant(-64, I8), net.constant(63, I8)), 0.01, I8(0))

    wide = lambda net: net.dq(net.constant(np.ones((16, 16, 3, 3)), np.int16), 0.01, np.int16(0))  # noqa: E731
    cases = {
        None: lambda net, name: net.conv(net.pair("x", U8(7)), name=name),
        "activation_float": lambda net, name: net.conv("x", name=name),
        "weight_zero_point": lambda net, name: net.conv(net.pair("x"), net.weight(zero=3), name=name),
        "weight_axis": lambda net, name: net.conv(net.pair("x"), net.weight(axis=1), name=name),
        "weight_clip": lambda net, name: net.conv(net.pair("x"), clipped(net), name=name),
        "weight_type": lambda net, name: net.conv(net.pair("x"), wide(net), name=name),
    }
    net = Net()
    model = net.model(*(part(net, f"layer {code}") for code, part in cases.items()), opset=21)
    assert found_in(model) == {f"layer {code}": (code is None, code) for code in cases}


def test_unsigned_weights_have_a_zero_point():
    cases = several(
        lambda net, name: net.conv(net.pair("x"), net.weight(dtype=U8), name=name),
        lambda net, name: net.conv(net.pair("x"), net.weight(axis=None), name=name),
    )
    assert cases == {"0": (False, "weight_zero_point"), "1": (True, None)}


def test_transposed_convolutions():
    def turned(zero, axis=1, group=1):
        def part(net: Net, name: str) -> str:
            weight = net.weight((16, 16 // group, 2, 2), axis=axis)
            return net.node("ConvTranspose", net.pair("x", zero), weight, name=name, strides=[2, 2], group=group)

        return part

    cases = several(turned(U8(0)), turned(I8(0)), turned(U8(9)), turned(U8(0), group=2), turned(U8(0), axis=0))
    rules = [None, None, "transposed_zero_point", "transposed_group", "weight_axis"]
    assert cases == {str(number): (rule is None, rule) for number, rule in enumerate(rules)}


def test_products_of_four_dimensions_take_a_zero_point_at_a_price():
    def product(zero):
        return lambda net, name: net.node("MatMul", net.pair("x", zero), net.weight((8, 8), axis=1), name=name)

    assert several(product(U8(9)), product(I8(0))) == {"0": (True, "product_zero_point"), "1": (True, None)}


@pytest.mark.parametrize(
    "left, right, layer, expected",
    [
        (True, True, "Conv", (True, None)),
        (False, True, "Conv", (False, "sum_in_float")),
        (True, True, "Sin", (False, "sum_of_no_layer")),
    ],
)
def test_sums_are_fused_into_a_convolution(left, right, layer, expected):
    net = Net()
    one = net.pair(net.node("Relu", net.conv(net.pair("x"), name="one")))
    between = net.pair(net.node("Relu", net.conv(one, name="between")))
    two = net.conv(between, name="two") if layer == "Conv" else net.node(layer, between)
    total = net.node("Relu", net.node("Add", net.pair(two, U8(128), 0.06) if left else two, one, name="sum"))
    assert found_in(net.model(net.conv(net.pair(total), name="last")))["sum"] == expected


@pytest.mark.parametrize(
    "second, behind, join, layer",
    [
        (0.05, False, None, None),
        (0.02, True, None, None),
        (0.02, False, "grids", "mixed_grids"),
    ],
)
def test_concatenations_copy_codes_of_one_scale(second, behind, join, layer):
    net = Net()
    x = net.pair("x")
    parts = [net.pair(net.node("Relu", net.conv(x)), scale=scale) for scale in (0.05, second)]
    whole = net.node("Concat", *parts, name="join", axis=1)
    model = net.model(net.conv(net.pair(whole) if behind else whole, net.weight((16, 32, 3, 3)), name="layer"))
    found = found_in(model)
    assert found["join"] == (True, join)
    assert found["layer"] == (layer is None, layer)


def test_poolings_and_sizes_read_codes():
    def changed(op: str, before: bool, **attributes):
        def part(net: Net, name: str) -> str:
            y = net.node("Relu", net.conv(net.pair("x")))
            more = ["", net.constant([1, 1, 2, 2], np.float32)] if op == "Resize" else []
            y = net.node(op, net.pair(y) if before else y, *more, name=name, **attributes)
            return net.conv(net.pair(y))

        return part

    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    found = several(
        changed("MaxPool", True, **window),
        changed("AveragePool", True, **window),
        changed("Resize", True, mode="nearest"),
        changed("Resize", True, mode="linear"),
        changed("AveragePool", False, **window),
    )
    rules = [None, None, None, "interpolation", "activation_float"]
    assert {name: found[name] for name in "01234"} == {
        str(number): (rule is None, rule) for number, rule in enumerate(rules)
    }


def test_activation_functions_between_two_pairs_are_a_pass_of_their_own():
    net = Net()
    y = net.pair(net.conv(net.pair("x"), name="layer"), U8(128))
    model = net.model(net.conv(net.pair(net.node("LeakyRelu", y, name="function"), U8(9)), name="last"))
    found = {layer.name: layer.rule for layer in lint(model, TARGET, confirm=False).layers}
    assert found["function"] == "quantised_before_activation"


def test_weights_saturate_without_vnni():
    net = Net()
    wide = net.model(net.conv(net.pair("x"), net.weight(high=127), name="layer"))
    rules = {target: lint(wide, target, confirm=False).layers[0].rule for target in ("openvino-x86", TARGET)}
    assert rules == {"openvino-x86": "weights_saturate", TARGET: None}


def test_a_compiler_that_ends_is_a_refusal():
    """A BatchNorm between pairs with a zero point, behind a concatenation, ends OpenVINO 2026.4."""
    net = Net()
    x = net.pair("x")
    parts = [net.pair(net.conv(x), U8(128)) for _ in range(2)]
    whole = net.pair(net.node("Concat", *parts, axis=1), U8(128))
    factors = [net.constant(np.linspace(0.5, 1.5, 32), np.float32) for _ in range(4)]
    y = net.pair(net.node("Relu", net.node("BatchNormalization", whole, *factors)))
    y = net.conv(y, net.weight((16, 32, 1, 1)), kernel_shape=[1, 1], pads=[0] * 4)
    found = lint(net.model(y, shape=(1, 16, 8, 8)), TARGET)
    assert found.refused
    assert "while it compiled the file" in found.findings[-1].message
