"""Rules on sums, products of activations, concatenations and poolings in ONNX Runtime."""

from typing import Any

from numpy.typing import NDArray

from edgekd.lint.common import float_input
from edgekd.lint.graph import Quantiser
from edgekd.lint.layer import LayerContext, node_label
from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.registry import Registry
from edgekd.runtimes.onnxruntime.rules.types import EIGHT_BITS, input_type

JOINS: Rules = Registry("rule on sums and concatenations")
UNARY: Rules = Registry("rule on poolings")
OF_INT8: Rules = Registry("rule on int8 sums and poolings")

# Their int8 operators check the shape of scales; those of others take one value in a list too.
SCALARS_ONLY = ("Add", "Mul", "AveragePool")


@JOINS.register("residual_float")
def residual_float(layer: LayerContext) -> LintVerdict | None:
    """Check that both inputs of a sum are quantised; else the sum and the convolution before it are in float."""
    missing = [name for name in layer.node.input if layer.graph.dequantiser(name, layer.moving) is None]
    if not missing:
        return None
    makers = [layer.graph.source(name) for name in missing]
    sources = [
        node_label(maker) if maker is not None else repr(name) for maker, name in zip(makers, missing, strict=True)
    ]
    if len(missing) == len(layer.node.input):
        return LintVerdict("float", "none of its inputs is quantised", "put a quantiser on each of its inputs")
    return LintVerdict(
        "float",
        f"a quantiser is missing on one side: {', '.join(dict.fromkeys(sources))} comes in float",
        "put a QuantizeLinear and DequantizeLinear on every input",
    )


@JOINS.register("input_types")
def input_types(layer: LayerContext) -> LintVerdict | None:
    types = {kind for name in layer.node.input if (kind := input_type(layer, name)) is not None}
    if len(types) > 1:
        return LintVerdict(
            "float", f"its inputs are {' and '.join(sorted(types))}", "quantise all activations to one type"
        )
    if types and not types <= set(EIGHT_BITS):
        return LintVerdict("float", f"its inputs are {types.pop()}", "quantise to 8 bits")
    return None


@OF_INT8.register("concat_scales")
def concat_scales(layer: LayerContext) -> LintVerdict | None:
    """Check for several scales: it runs in int8, but requantises its inputs one by one instead of copying them."""
    quantisers = [*_inputs(layer), *([layer.output_quantiser] if layer.output_quantiser else [])]
    if layer.op != "Concat" or len({each.parameters for each in quantisers}) < 2:
        return None
    return LintVerdict(
        "note",
        "its inputs and its output have different scales: it looks up each code of its inputs instead of copying it",
        "leave it so where the inputs are of different kinds: one scale for all would cost accuracy, and a ReLU beside "
        "values with a sign its int8 kernel",
    )


@OF_INT8.register("scale_shape")
def scale_shape(layer: LayerContext) -> LintVerdict | None:
    quantisers = [*_inputs(layer), *([layer.output_quantiser] if layer.output_quantiser else [])]
    lists = [each for each in quantisers if _is_list(each.scale) or _is_list(each.zero_point)]
    if layer.op not in SCALARS_ONLY or not lists:
        return None
    return LintVerdict(
        "refused",
        f"{node_label(lists[0].node)} has its scale or zero point in a list, not as a scalar: ONNX Runtime makes it a "
        f"QLinear{layer.op}, which it then refuses",
        "write scales and zero points of activations as scalars, of no dimension",
    )


@UNARY.register("activation_float")
def activation_float(layer: LayerContext) -> LintVerdict | None:
    return float_input(layer)


def _inputs(layer: LayerContext) -> list[Quantiser]:
    found = (layer.graph.dequantiser(name, layer.moving) for name in layer.node.input)
    return [each for each in found if each is not None]


def _is_list(value: NDArray[Any] | None) -> bool:
    return value is not None and value.ndim > 0
