"""Planted cases: each found by its rule, and each shown to be real by the graph that ONNX Runtime writes."""

import numpy as np
import onnx
import pytest
from onnx.numpy_helper import to_array

from edgekd.lint import lint
from edgekd.lint.graph import LintGraph
from edgekd.runtimes.onnxruntime.rules.pads import zero_padding
from tests.lint.graphs import I8, U8, Net, clean, run

FEED = np.random.default_rng(1).standard_normal((2, 16, 8, 8)).astype(np.float32)
EXACT = 1e-4


def relu6(net: Net, x: str) -> str:
    return net.node("Clip", x, net.constant(0, np.float32), net.constant(6, np.float32), name="clamp")


def codes(layer) -> list[str]:
    return [finding.code for finding in layer.findings]


@pytest.mark.parametrize("bias", ["int32", "float"])
@pytest.mark.parametrize("target", ["onnxruntime-x86", "onnxruntime-x86-vnni", "onnxruntime-arm"])
def test_a_clean_file_has_nothing_said_of_it(target, bias):
    """ONNX Runtime 1.31 quantises a convolution's float bias itself."""
    found = lint(clean(bias=bias), target)
    assert (found.coverage, found.coverage_of, found.disagreements) == (1.0, "MACs", ())
    assert [layer.name for layer in found.layers] == ["one", "two", "sum", "pool", "head"]
    assert all(layer.int8 and layer.confirmed and not layer.findings for layer in found.layers)


def test_macs_are_those_of_one_sample():
    found = lint(clean(), "onnxruntime-arm", confirm=False)
    assert {layer.name: layer.macs for layer in found.weighted} == {
        "one": 64 * 16 * 16 * 9,
        "two": 64 * 16 * 16 * 9,
        "head": 16 * 10,
    }


def test_float_bias_blocks_a_product_whose_output_is_not_quantised(found):
    def model(quantised):
        net = Net()
        y = net.node(
            "Gemm",
            net.pair(net.node("Flatten", "x")),
            net.weight((10, 1024)),
            net.float_weight(10),
            name="layer",
            transB=1,
        )
        return net.model(net.pair(y) if quantised else y)

    assert (found(model(False)).int8, found(model(False)).rule) == (False, "float_bias")
    assert (found(model(True)).int8, found(model(True)).rule) == (True, None)


def test_float_bias_behind_a_matrix_product(found):
    """What PyTorch's Linear becomes: ONNX Runtime makes the two nodes one Gemm, which then stays in float."""
    net = Net()
    y = net.node("MatMul", net.pair(net.node("Flatten", "x")), net.weight((1024, 10), axis=1), name="layer")
    layer = found(net.model(net.node("Add", y, net.float_weight(10))))
    assert (layer.int8, layer.rule) == (False, "float_bias")


def test_relu6_between_two_pairs(found):
    net = Net()
    y = net.pair(net.conv(net.pair("x"), name="layer"), U8(0), 0.05)
    model = net.model(net.pair(relu6(net, y), U8(0), 0.05))
    assert found(model).int8
    clamp = found(model, name="clamp")
    assert (clamp.int8, clamp.confirmed, clamp.rule) == (False, False, "clamp_between_pairs")


def test_relu6_that_the_range_makes_idle(found):
    net = Net()
    y = relu6(net, net.conv(net.pair("x"), name="layer"))
    assert found(net.model(net.pair(y, U8(0), 6 / 255))).findings == ()
    net = Net()
    y = relu6(net, net.conv(net.pair("x"), name="layer"))
    assert found(net.model(net.pair(y, U8(0), 6 / 254))).rule == "clip_range"


@pytest.mark.parametrize("target", ["onnxruntime-x86", "onnxruntime-arm"])
@pytest.mark.parametrize(("zero", "int8"), [(I8(0), False), (U8(128), False), (I8(-128), True), (U8(0), True)])
def test_symmetric_activations(found, target, zero, int8):
    net = Net()
    y = net.node("Relu", net.conv(net.pair("x", zero), name="layer"))
    layer = found(net.model(net.pair(y, zero)), target)
    assert layer.int8 is int8
    assert layer.rule == (None if int8 else "relu_zero_point")
    assert int8 or "symmetric activations" in layer.message


def test_missing_residual_quantiser(found):
    net = Net()
    start = net.pair("x")
    total = net.node("Add", net.conv(start, name="layer"), start, name="sum")
    model = net.model(net.pair(net.node("Relu", total)))
    assert found(model).rule == "output_float"
    both = found(model, name="sum")
    assert (both.int8, both.confirmed, both.rule) == (False, False, "residual_float")
    assert "Conv 'layer'" in both.message


def test_weights_folded_to_float(found):
    """ONNX Runtime quantises them anew where it can: with other numbers, as the answers show."""

    def model(folded):
        net = Net()
        weights = np.random.default_rng(2).integers(-64, 64, (16, 16, 3, 3)).astype(np.int8)
        scales = np.geomspace(1e-4, 1e-2, 16).astype(np.float32)
        if folded:
            weight = net.constant(weights * scales[:, None, None, None])
        else:
            weight = net.dq(net.constant(weights), scales, np.zeros(16, np.int8), axis=0)
        return net.model(net.pair(net.conv(net.pair("x", U8(128)), weight, name="layer"), U8(128)))

    layer = found(model(True))
    assert (layer.int8, layer.rule, layer.findings[0].effect) == (True, "weights_folded", "accuracy")
    assert np.abs(run(model(True), FEED) - run(model(True), FEED, optimise=False)).max() > 0.04
    assert (
        np.abs(run(model(False), FEED) - run(model(False), FEED, optimise=False)).max() < 0.051
    )  # one step of rounding


def test_weights_folded_where_no_quantiser_follows(found):
    net = Net()
    y = net.node("MatMul", net.pair(net.node("Flatten", "x")), net.float_weight(1024, 10), name="layer")
    layer = found(net.model(y))
    assert (layer.int8, layer.rule) == (False, "weights_folded")


@pytest.mark.parametrize("target", ["onnxruntime-x86", "onnxruntime-arm"])
def test_types_that_differ(found, target):
    """On x86 ONNX Runtime makes all int8 activations uint8 first."""
    net = Net()
    layer = found(net.model(net.pair(net.conv(net.pair("x", U8(0)), name="layer"), I8(0))), target)
    assert (layer.int8, layer.rule) == ((True, None) if target == "onnxruntime-x86" else (False, "type_mismatch"))
    net = Net()
    y = net.conv(net.pair("x", I8(0)), net.weight(dtype=U8), name="layer")
    layer = found(net.model(net.pair(y, I8(0))), target)
    assert (layer.int8, layer.rule) == ((True, None) if target == "onnxruntime-x86" else (False, "weight_type"))


def test_int8_that_leaves_the_network_on_x86(found):
    net = Net()
    model = net.model(net.q(net.conv(net.pair("x", I8(0)), name="layer"), 0.05, I8(0)))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT8
    assert found(model, "onnxruntime-arm").findings == ()
    assert found(model).rule == "type_mismatch"


def test_int8_that_enters_the_network_on_x86(found):
    net = Net()
    model = net.model(net.pair(net.conv(net.dq("x", 0.05, I8(0)), name="layer"), I8(0)))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT8
    assert found(model, "onnxruntime-arm").findings == ()
    assert "int8_activation" in codes(found(model))


def test_int8_that_a_residual_reads_twice_stays_int8_on_x86(found):
    """ONNX Runtime makes uint8 only of what one layer reads, so that symmetric residual networks lose most of int8."""
    net = Net()
    start = net.pair(net.conv(net.pair("x", I8(0)), name="before"), I8(0))
    total = net.node("Add", net.pair(net.conv(start, name="layer"), I8(0)), start, name="sum")
    model = net.model(net.pair(total, I8(0)))
    names = {"before": "type_mismatch", "layer": "int8_activation", "sum": "input_types"}
    assert {name: found(model, name=name).rule for name in names} == names
    assert [found(model, name=name).int8 for name in names] == [False] * 3
    assert [found(model, "onnxruntime-arm", name).int8 for name in names] == [True] * 3


def test_arithmetic_on_shapes_is_no_layer():
    net = Net()
    x = net.pair("x")
    batch = net.node("Slice", net.node("Shape", x), *(net.constant([n], np.int64) for n in (0, 1)))
    shape = net.node("Concat", batch, net.constant([-1], np.int64), axis=0)
    flat = net.pair(net.node("Reshape", x, shape))
    found = lint(net.model(net.node("MatMul", flat, net.weight((1024, 10), axis=1), name="layer")), "onnxruntime-arm")
    assert [(layer.name, layer.findings) for layer in found.layers] == [("layer", ())]


def test_scales_on_the_wrong_axis_give_wrong_numbers(found):
    def model(axis):
        net = Net()
        weights = np.random.default_rng(2).integers(-64, 64, (16, 16, 3, 3)).astype(np.int8)
        weight = net.dq(net.constant(weights), np.geomspace(1e-3, 1e-2, 16), np.zeros(16, np.int8), axis=axis)
        return net.model(net.pair(net.conv(net.pair("x", U8(128)), weight, name="layer"), U8(128), 0.1))

    layer = found(model(1))
    assert (layer.int8, layer.rule, layer.findings[0].effect) == (True, "weight_axis", "accuracy")
    assert np.abs(run(model(1), FEED) - run(model(1), FEED, optimise=False)).max() > 1
    assert found(model(0)).findings == ()


def test_bias_of_another_scale(found):
    """A convolution stays in float; a Gemm is fused and adds the wrong bias."""
    net = Net()
    layer = found(net.model(net.pair(net.conv(net.pair("x"), bias=net.int32_bias(scale=0.3), name="layer"))))
    assert (layer.int8, layer.rule) == (False, "bias_scale")

    def product(scale):
        net = Net()
        bias = net.dq(net.constant(np.arange(10) + 1, np.int32), np.full(10, scale), axis=0)
        flat = net.pair(net.node("Flatten", "x"), U8(128))
        return net.model(net.node("Gemm", flat, net.weight((10, 1024)), bias, name="layer", transB=1))

    layer = found(product(0.3))
    assert (layer.int8, layer.rule, layer.findings[0].effect) == (True, "bias_scale", "accuracy")
    assert np.abs(run(product(0.3), FEED) - run(product(0.3), FEED, optimise=False)).max() > 1
    assert np.abs(run(product(5e-4), FEED) - run(product(5e-4), FEED, optimise=False)).max() < EXACT


@pytest.mark.parametrize(("weight", "activation"), [((32, 16, 3, 3), 1), ((16, 16, 3, 3), 16)])
def test_what_fails_at_the_first_run(weight, activation):
    """32 filters with 16 scales on axis 1; an activation of 16 scales."""
    net = Net()
    many = {"scale": np.full(16, 0.05), "zero": np.zeros(16, np.uint8), "axis": 1} if activation > 1 else {}
    y = net.conv(net.pair("x", **many), net.weight(weight, axis=1 if activation == 1 else 0), name="layer")
    model = net.model(net.pair(y))
    found = lint(model, "onnxruntime-x86-vnni")
    [rule] = [layer.rule for layer in found.layers]
    assert rule == ("weight_axis" if activation == 1 else "activation_per_channel")
    assert (found.refused, found.coverage) == (True, 0.0)
    assert "by rule" in found.not_confirmed
    with pytest.raises(Exception, match="QLinearConv"):
        run(model, FEED)


def test_weights_that_saturate_without_vnni():
    net = Net()
    model = net.model(net.pair(net.conv(net.pair("x"), net.weight(high=127), name="layer")))
    [layer] = lint(model, "onnxruntime-x86").layers
    assert (layer.int8, layer.rule) == (True, "weights_saturate")
    assert not any(lint(model, target).layers[0].findings for target in ("onnxruntime-x86-vnni", "onnxruntime-arm"))


@pytest.mark.parametrize(("most", "largest"), [(127, None), (140, 117)])
def test_weights_do_not_saturate_where_codes_are_clipped(most, largest):
    net = Net()
    clipped = net.node("Clip", net.q("x", 0.05, U8(0)), net.constant(U8(0)), net.constant(U8(most)))
    pooled = net.node("MaxPool", net.dq(clipped, 0.05, U8(0)), kernel_shape=[1, 1])
    model = net.model(net.pair(net.conv(pooled, net.weight(high=127), name="layer")))
    found = next(layer for layer in lint(model, "onnxruntime-x86").layers if layer.name == "layer")
    assert found.rule == ("weights_saturate" if largest else None)
    # 2 · 140 · 117 = 32760 fits into 16 bits.
    codes = next(each for each in map(to_array, model.graph.initializer) if each.dtype == np.int8 and each.size > 99)
    beyond = int((np.abs(codes.astype(int)) > (largest or 127)).sum())
    said = f"{beyond} of {codes.size} weights are outside [-{largest}, {largest}]"
    assert [each.message.startswith(said) for each in found.findings] == ([True] if largest else [])


def test_what_has_no_kernel(found):
    net = Net()
    up = net.pair(net.node("ConvTranspose", net.pair("x"), net.weight(axis=1), name="layer"))
    model = net.model(net.pair(net.node("HardSwish", up, name="island")))
    assert found(model).rule == "no_int8_kernel"
    assert found(model, name="island").rule == "no_int8_kernel"


@pytest.mark.parametrize(
    ("op", "attributes", "scale", "int8", "rule"),
    [
        ("MaxPool", {"kernel_shape": [2, 2]}, 0.05, True, None),
        ("MaxPool", {"kernel_shape": [2, 2]}, 0.04, False, "pool_scales"),
        ("AveragePool", {"kernel_shape": [2, 2]}, 0.04, True, None),
        ("GlobalAveragePool", {}, 0.04, True, None),
        ("ReduceMean", {"axes": [2, 3]}, 0.05, False, "no_int8_kernel"),
    ],
)
def test_poolings(found, op, attributes, scale, int8, rule):
    net = Net()
    y = net.node(op, net.pair(net.conv(net.pair("x"))), name="layer", **attributes)
    layer = found(net.model(net.pair(y, scale=scale)))
    assert (layer.int8, layer.rule, layer.confirmed) == (int8, rule, int8)


def test_joins_of_two_types_and_of_two_scales(found):
    for op, zero, scale, rule in (("Add", I8(0), 0.05, "input_types"), ("Concat", U8(0), 0.04, "concat_scales")):
        net = Net()
        attributes = {"axis": 1} if op == "Concat" else {}
        y = net.node(op, net.pair(net.conv(net.pair("x"))), net.pair("x", zero, scale), name="layer", **attributes)
        layer = found(net.model(net.pair(y)), "onnxruntime-arm")
        assert (layer.int8, layer.rule) == (op == "Concat", rule)


@pytest.mark.parametrize(("op", "refused"), [("Add", True), ("AveragePool", True), ("GlobalAveragePool", False)])
def test_scales_in_lists(op, refused):
    """Of one value each, as some tools write them; convolutions take them."""
    net = Net()
    y = net.pair(net.conv(net.pair("x", np.array([0], np.uint8), [0.05])), np.array([0], np.uint8), [0.05])
    attributes = {"kernel_shape": [2, 2]} if op == "AveragePool" else {}
    y = net.node(op, *([y, net.pair("x")] if op == "Add" else [y]), name="layer", **attributes)
    model = net.model(net.pair(y))
    found = lint(model, "onnxruntime-arm")
    assert found.refused is refused
    if refused:
        assert found.layers[1].rule == "scale_shape"
        with pytest.raises(Exception, match="must be a scalar"):
            run(model, FEED)
    else:
        assert (found.coverage, found.disagreements) == (1.0, ())


@pytest.mark.parametrize("bias", [False, True])
def test_an_activation_of_several_scales_before_a_layer_that_stays_in_float(bias):
    """It is then computed as it stands, and nothing is refused."""
    net = Net()
    x = net.pair("x", np.zeros(16, np.uint8), np.full(16, 0.05), axis=1)
    y = net.conv(x, bias=net.float_weight(16) if bias else "", name="layer")
    model = net.model(net.pair(y) if bias else y)
    found = lint(model, "onnxruntime-arm")
    assert (found.refused, found.coverage, found.disagreements) == (False, 0.0, ())
    assert np.isfinite(run(model, FEED)).all()


def test_float_bias_in_opset_10_is_refused():
    net = Net()
    y = net.conv(net.pair("x"), net.weight(axis=None), net.float_weight(16), name="layer")
    model = net.model(net.pair(y), opset=10)
    found = lint(model, "onnxruntime-arm")
    assert (found.refused, found.layers[0].rule) == (True, "opset")
    with pytest.raises(Exception, match="Round"):
        run(model, FEED)


@pytest.mark.parametrize(
    ("before", "pads", "value", "pooling", "effect"),
    [
        ("Neg", 1, 0, {}, "accuracy"),
        ("Relu", 1, 0, {}, None),
        ("Relu", 2, 0, {}, "refused"),
        ("Neg", 1, 0, {"pads": [1, 1, 1, 1]}, "refused"),
        ("Neg", 1, -1, {}, None),
        ("Neg", -1, 0, {}, None),
        ("Neg", 1, 0, {"auto_pad": "SAME_UPPER"}, None),
    ],
)
def test_zeros_in_front_of_a_max_pooling(before, pads, value, pooling, effect):
    def model(axes: bool):
        net = Net()
        given = [net.constant([0, 0, pads, pads] * 2, np.int64), net.constant(value, np.float32)]
        given += [net.constant([0, 1, 2, 3], np.int64)] if axes else []
        padded = net.node("Pad", net.node(before, "x"), *given, name="pad")
        pooled = net.node("MaxPool", padded, kernel_shape=[2, 2], name="pool", **pooling)
        return net.model(net.conv(pooled, net.float_weight(), name="layer"), opset=18)

    feed, plain = 1 + np.abs(FEED), model(axes=False)
    [*said] = lint(plain, "onnxruntime-arm").findings
    assert [(each.code, each.effect) for each in said] == ([("zero_padding", effect)] if effect else [])
    assert all("Pad 'pad' puts zeros in front of MaxPool 'pool': ONNX Runtime makes" in each.message for each in said)
    if effect == "refused":
        with pytest.raises(Exception, match="Pad should be smaller than kernel"):
            run(plain, feed)
    else:
        differs = np.abs(run(plain, feed) - run(plain, feed, optimise=False)).max() > EXACT
        assert differs == (effect == "accuracy")
    kept = model(axes=True)
    assert lint(kept, "onnxruntime-arm").findings == ()
    assert np.abs(run(kept, feed) - run(kept, feed, optimise=False)).max() < EXACT


@pytest.mark.parametrize(("branch", "effect"), [("Relu", None), ("Neg", "accuracy")])
def test_zeros_in_front_of_a_max_pooling_of_branches(branch, effect):
    """Branches are joined, added and pooled before the max pooling, as in Inception."""
    net = Net()
    branches = [net.node("Relu", "x"), net.node(branch, "x")]
    joined = net.node("Concat", *branches, axis=1)
    for _ in range(2000):
        joined = net.node("Add", joined, joined)
    pooled = net.node("MaxPool", net.node("AveragePool", joined, kernel_shape=[1, 1]), kernel_shape=[1, 1])
    sizes = [net.constant([0, 0, 1, 1] * 2, np.int64), net.constant(0, np.float32)]
    padded = net.node("Pad", net.node("Add", pooled, net.constant(1, np.float32)), *sizes)
    model = net.model(net.node("MaxPool", padded, kernel_shape=[2, 2]), opset=18)
    found = [each for each in zero_padding(LintGraph(model), set()) if each.code == "zero_padding"]
    assert [each.effect for each in found] == ([effect] if effect else [])
