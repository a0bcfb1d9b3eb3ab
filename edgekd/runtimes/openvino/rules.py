"""OpenVINO on the CPU: the rules by which it computes a layer in int8.

Each was held against the graph that OpenVINO 2026.4 executes; older ones may differ.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from edgekd.lint.common import INPUTS, float_input, saturating
from edgekd.lint.graph import Quantiser, attribute
from edgekd.lint.layer import LayerContext, node_label
from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rulebook, Rules, apply_rules, joined, runs_in_int8
from edgekd.lint.target import LintTarget
from edgekd.registry import Registry
from edgekd.runtimes.openvino.confirm import confirm

if TYPE_CHECKING:
    from onnx import NodeProto

EIGHT_BITS = ("int8", "uint8")
# 2 · 255 · 64 = 32640 is the largest sum of two products of 8 bits that 16 bits hold.
# What is fused into the layer before it, and costs a pass behind a DequantizeLinear.
ACTIVATIONS = ("HardSwish", "Gelu", "LeakyRelu", "PRelu", "Elu", "Sigmoid", "Tanh", "Mish", "Clip", "Relu")

NOTHING: Rules = Registry("rule")
WEIGHTS: Rules = Registry("rule on weights")
OF_INT8: Rules = Registry("rule on int8 layers")
SUMS: Rules = Registry("rule on sums")
JOINS: Rules = Registry("rule on concatenations")
OF_CODES: Rules = Registry("rule on concatenations of codes")
POOLINGS: Rules = Registry("rule on poolings")
ISLANDS: Rules = Registry("rule on what stands between quantisers")


@WEIGHTS.register("weight_zero_point")
def weight_zero_point(layer: LayerContext) -> LintVerdict | None:
    if layer.activation is None or layer.weight is None or layer.weight.zero_point is None:
        return None
    if not layer.weight.zero_point.any():
        return None
    return LintVerdict(
        "float",
        f"its weight has the zero point {int(layer.weight.zero_point.flat[0])}",
        "quantise weights to int8 with zero point 0",
    )


@WEIGHTS.register("weight_type")
def weight_type(layer: LayerContext) -> LintVerdict | None:
    return _not_eight_bits(layer.weight, "weight") if layer.activation is not None else None


@WEIGHTS.register("activation_type")
def activation_type(layer: LayerContext) -> LintVerdict | None:
    return _not_eight_bits(layer.activation, "activation") if layer.weight is not None else None


@WEIGHTS.register("weight_clip")
def weight_clip(layer: LayerContext) -> LintVerdict | None:
    """Check for an operator between the two steps of a convolution's weight, which OpenVINO does not fold."""
    if layer.activation is None or layer.weight is None or layer.op not in ("Conv", "ConvTranspose"):
        return None
    maker = layer.graph.source(layer.weight.node.input[0])
    if maker is None or maker.op_type == "QuantizeLinear":
        return None
    return LintVerdict(
        "float",
        f"{node_label(maker)} stands between its weight and the DequantizeLinear",
        "store the codes of the weight behind the DequantizeLinear",
    )


@WEIGHTS.register("weight_axis")
def weight_axis(layer: LayerContext) -> LintVerdict | None:
    if not layer.misplaced_scales:
        return None
    wanted = layer.channel_axis
    return LintVerdict(
        "float",
        f"its weight's scales lie on axis {layer.weight_axis}, its output channels on axis {wanted}",
        f"quantise the weight per tensor, or with axis={wanted}",
    )


@WEIGHTS.register("transposed_zero_point")
def transposed_zero_point(layer: LayerContext) -> LintVerdict | None:
    given = layer.activation
    if layer.op != "ConvTranspose" or given is None or layer.weight is None or given.zero == 0:
        return None
    return LintVerdict(
        "float",
        f"its activation has the zero point {given.zero}, and transposed convolutions have no kernel for that",
        "quantise its input symmetrically, to int8 with zero point 0",
    )


@WEIGHTS.register("transposed_group")
def transposed_group(layer: LayerContext) -> LintVerdict | None:
    if layer.op != "ConvTranspose" or layer.group == 1 or layer.weight is None or not layer.weight.per_channel:
        return None
    return LintVerdict(
        "float",
        f"it has {layer.group} groups and a scale for each channel of one group",
        "quantise its weight per tensor",
    )


@WEIGHTS.register("mixed_grids")
def mixed_grids(layer: LayerContext) -> LintVerdict | None:
    """Check for a concatenation of several scales before the layer: it gives float."""
    node = layer.graph.source(layer.node.input[0])
    while node is not None and node.op_type in (*layer.moving, "Concat"):
        if node.op_type == "Concat" and len({_grid(each) for each in _given(layer, node)}) > 1:
            return LintVerdict(
                "float",
                f"{node_label(node)} before it has inputs of different scales or zero points, and gives float",
                "put a QuantizeLinear and DequantizeLinear behind the concatenation",
            )
        node = layer.graph.source(node.input[0])
    return None


@OF_INT8.register("product_zero_point")
def product_zero_point(layer: LayerContext) -> LintVerdict | None:
    """Check the zero point of products of more than three dimensions, whose bias and activation then do not fuse."""
    given, shape = layer.activation, layer.graph.shapes.get(layer.node.input[0], ())
    if layer.op != "MatMul" or len(shape) < 4 or given is None or given.zero == 0:
        return None
    return LintVerdict(
        "slow",
        f"its activation has {len(shape)} dimensions and the zero point {given.zero}: its sum with a bias and the "
        "activation function behind it are passes of their own",
        "quantise its input symmetrically, to int8 with zero point 0",
    )


@OF_INT8.register("weights_saturate")
def weights_saturate(layer: LayerContext) -> LintVerdict | None:
    """Check for weights that saturate; only x86 without VNNI adds pairs of products in 16 bits."""
    weight = layer.stored_weight if layer.saturates else None
    return saturating(weight, "quantise the weights to 7 bits, as the profile openvino-x86 does")


@SUMS.register("sum_in_float")
def sum_in_float(layer: LayerContext) -> LintVerdict | None:
    """Check that a sum can be fused into a layer before it: its inputs and its output are quantised."""
    if _is_bias(layer):
        return _bias_in_float(layer)
    missing = [name for name in layer.node.input if layer.graph.dequantiser(name, layer.moving) is None]
    if layer.output_quantiser is not None and (not missing or _takes_float(layer, missing)):
        return None
    side = "its output is not" if not missing else "not every input is"
    return LintVerdict("float", f"{side} quantised", "quantise both inputs and the output of the sum")


@SUMS.register("sum_of_no_layer")
def sum_of_no_layer(layer: LayerContext) -> LintVerdict | None:
    """Check that a convolution gives one of the inputs to the sum alone, so that the sum fuses into it."""
    if _is_bias(layer) or any(_is_of_convolution(layer, name) for name in layer.node.input):
        return None
    return LintVerdict(
        "float",
        "no convolution gives one of its inputs to it alone, into which it could be fused",
        "leave its inputs in float, unless an int8 layer reads them too",
    )


@JOINS.register("input_float")
def input_float(layer: LayerContext) -> LintVerdict | None:
    """Check that a concatenation has codes on every input, or gets them from a quantiser behind it."""
    if layer.output_quantiser is not None or None not in _given(layer, layer.node):
        return None
    return LintVerdict(
        "float", "not every input is quantised, nor is its output", "quantise all inputs, with one scale and zero point"
    )


@OF_CODES.register("grids")
def grids(layer: LayerContext) -> LintVerdict | None:
    if layer.output_quantiser is not None or len({_grid(each) for each in _given(layer, layer.node)}) == 1:
        return None
    return LintVerdict(
        "slow",
        "its inputs have different scales or zero points: what reads it gets float",
        "share one scale and zero point between its inputs, or put a QuantizeLinear and DequantizeLinear behind it",
    )


@POOLINGS.register("activation_float")
def pooled_float(layer: LayerContext) -> LintVerdict | None:
    return float_input(layer)


@POOLINGS.register("interpolation")
def interpolation(layer: LayerContext) -> LintVerdict | None:
    mode = attribute(layer.node, "mode", b"nearest")
    if layer.op != "Resize" or mode in (b"nearest", "nearest"):
        return None
    return LintVerdict("float", f"it interpolates in mode {_word(mode)}", "let it take the nearest value, or leave it")


@ISLANDS.register("quantised_before_activation")
def quantised_before_activation(layer: LayerContext) -> LintVerdict | None:
    """Check for an activation function between two pairs: without the first it fuses into the layer before it."""
    if layer.op not in ACTIVATIONS or layer.activation is None:
        return None
    return LintVerdict(
        "float",
        "it stands between two Q/DQ pairs, and is a pass over the tensor of its own",
        "leave out the QuantizeLinear and DequantizeLinear before it: it fuses into the layer that it follows",
    )


def _not_eight_bits(quantiser: Quantiser | None, what: str) -> LintVerdict | None:
    if quantiser is None or quantiser.dtype in EIGHT_BITS:
        return None
    return LintVerdict("float", f"its {what} is {quantiser.dtype}", "quantise to 8 bits")


def _given(layer: LayerContext, node: "NodeProto") -> list[Quantiser | None]:
    return [layer.graph.dequantiser(name, layer.moving) for name in node.input]


def _is_bias(layer: LayerContext) -> bool:
    return any(layer.graph.stored(name) is not None for name in layer.node.input)


def _bias_in_float(layer: LayerContext) -> LintVerdict | None:
    """Check that a bias is fused into a matrix product before it."""
    makers = [layer.graph.source(name) for name in layer.node.input]
    product = next((replace(layer, node=maker) for maker in makers if maker is not None), None)
    if product is not None and product.op == "MatMul":
        found = apply_rules(product, WEIGHTED)
        if runs_in_int8(found) and not any(finding.code == "product_zero_point" for finding in found):
            return None
    return LintVerdict("float", "it adds a constant to what no int8 layer alone gives", "leave its inputs in float")


def _takes_float(layer: LayerContext, missing: list[str]) -> bool:
    """Tell whether the one float input is a convolution's, and the other one the quantised output of another."""
    if len(missing) != 1:
        return False
    maker = layer.graph.source(missing[0])
    others = [name for name in layer.node.input if name != missing[0]]
    return maker is not None and maker.op_type == "Conv" and any(_is_of_convolution(layer, name) for name in others)


def _is_of_convolution(layer: LayerContext, name: str) -> bool:
    """Tell whether ``name`` is the quantised output of a convolution in int8 that nothing else reads."""
    graph = layer.graph
    quantiser = graph.dequantiser(name)
    step = graph.source(quantiser.node.input[0]) if quantiser is not None else None
    maker = graph.source(step.input[0]) if step is not None else None
    while maker is not None and maker.op_type in ACTIVATIONS:
        maker = graph.source(maker.input[0])
    if maker is None or maker.op_type != "Conv" or graph.uses(name) != 1:
        return False
    # The sum is written over its other input.
    if graph.root(maker.input[0]) in {graph.root(each) for each in layer.node.input}:
        return False
    return runs_in_int8(apply_rules(replace(layer, node=maker), WEIGHTED))


def _grid(quantiser: Quantiser | None) -> tuple[object, ...] | None:
    return None if quantiser is None else quantiser.parameters


def _word(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


WEIGHTED = Rulebook(joined("rule on weighted layers", INPUTS, WEIGHTS), OF_INT8)
SUM, JOIN = Rulebook(SUMS, NOTHING), Rulebook(JOINS, OF_CODES)
POOLING, ISLAND = Rulebook(POOLINGS, NOTHING), Rulebook(ISLANDS, NOTHING)

RULES: dict[str, Rulebook] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), WEIGHTED),
    "Add": SUM,
    "Concat": JOIN,
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean", "Resize"), POOLING),
}
MOVING = ("Split", "Flatten", "Concat")


def _target(name: str, saturates: bool = False) -> LintTarget:
    return LintTarget(name, RULES, confirm, islands=ISLAND, saturates=saturates, also_moving=MOVING)


TARGETS = {
    "openvino-x86": _target("openvino-x86", saturates=True),
    "openvino-x86-vnni": _target("openvino-x86-vnni"),
}
