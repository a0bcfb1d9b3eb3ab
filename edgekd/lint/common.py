"""Rules of every runtime: a layer computes in int8 only if its inputs are quantised."""

from typing import Any

from numpy.typing import NDArray

from edgekd.lint.layer import LayerContext, node_label
from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.registry import Registry
from edgekd.runtime import SEVEN_BITS

INPUTS: Rules = Registry("rule on inputs")
# Instead of a transposed convolution, which few runtimes compute in int8.
UPSAMPLE = "replace it by upsampling to the nearest value and a convolution (1x1 is enough), and train that"


@INPUTS.register("not_quantised")
def not_quantised(layer: LayerContext) -> LintVerdict | None:
    if layer.activation is not None or layer.weight is not None:
        return None
    return LintVerdict(
        "float",
        "neither its activation nor its weight comes from a DequantizeLinear",
        "quantise both: a QuantizeLinear and DequantizeLinear before the layer and on its weight",
    )


@INPUTS.register("activation_float")
def activation_float(layer: LayerContext) -> LintVerdict | None:
    if layer.activation is not None or layer.weight is None:
        return None
    return LintVerdict(
        "float",
        f"its activation comes in float{from_where(layer)}",
        "put a QuantizeLinear and DequantizeLinear before the layer",
    )


@INPUTS.register("weight_float")
def weight_float(layer: LayerContext) -> LintVerdict | None:
    if layer.activation is None or layer.weight is not None or layer.folded_weight:
        return None
    return LintVerdict(
        "float",
        f"its second input {layer.node.input[1]!r} is computed in float",
        "put a QuantizeLinear and DequantizeLinear on it",
    )


def float_input(layer: LayerContext) -> LintVerdict | None:
    """Report an operator without weights whose input is not quantised."""
    if layer.activation is not None:
        return None
    return LintVerdict(
        "float",
        f"its input comes in float{from_where(layer)}",
        "put a QuantizeLinear and DequantizeLinear before it",
    )


def saturating(weight: NDArray[Any] | None, advice: str, fitting: tuple[int, int] = SEVEN_BITS) -> LintVerdict | None:
    """Report 8-bit codes of a weight, outside ``fitting``, whose products, added in pairs in 16 bits, saturate."""
    low, high = fitting
    if weight is None or not weight.size or (weight.min() >= low and weight.max() <= high):
        return None
    beyond = int(((weight < low) | (weight > high)).sum())
    return LintVerdict(
        "accuracy",
        f"{beyond} of {weight.size} weights are outside [{low}, {high}]: without VNNI, sums of two products saturate "
        "at 16 bits",
        advice,
    )


def from_where(layer: LayerContext) -> str:
    made = layer.graph.source(layer.node.input[0])
    return f" from {node_label(made)}" if made is not None else ""
