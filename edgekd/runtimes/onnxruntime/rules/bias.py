"""Rules on biases that keep ONNX Runtime from fusing a layer, or make it compute something else."""

import numpy as np

from edgekd.lint.graph import Quantiser, attribute
from edgekd.lint.layer import LayerContext
from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.registry import Registry

RULES: Rules = Registry("rule on biases")
OF_INT8: Rules = Registry("rule on biases of int8 layers")

OTHER_SCALE = "the scale of its int32 bias is not that of the sums, s_x · s_w"
QUANTISE_BIAS = "store the bias in int32 behind a DequantizeLinear of scale s_x · s_w and zero point 0"
# How far ONNX Runtime 1.31 lets a scale be off before it leaves a convolution in float; found by bisection.
SCALE_SHARE, SCALE_REST = 1e-2, 1e-6


@RULES.register("float_bias")
def float_bias(layer: LayerContext) -> LintVerdict | None:
    """Check the cases in which ONNX Runtime does not make a float bias int32 itself."""
    if layer.bias is None or layer.activation is None or layer.graph.stored(layer.bias) is None:
        return None
    size = tuple(layer.graph.stored(layer.bias).dims)  # type: ignore[union-attr]
    if len(size) != 1:
        return LintVerdict("float", f"its float bias has {len(size)} dimensions instead of one", QUANTISE_BIAS)
    if layer.activation.per_channel:
        return LintVerdict("float", "its bias is in float beside an activation of several scales", QUANTISE_BIAS)
    if layer.output_quantiser is None and layer.op != "Conv":
        return LintVerdict(
            "float",
            "its bias is in float and its output is not quantised, where ONNX Runtime does not make the bias int32",
            QUANTISE_BIAS + ", or quantise the output",
        )
    if layer.weight is not None and layer.weight.per_channel and layer.weight.scale is not None:
        channels = layer.weight.scale.size
        if size[0] != channels:
            return LintVerdict("float", f"its bias has {size[0]} values for {channels} channels", QUANTISE_BIAS)
    return None


@RULES.register("opset")
def opset(layer: LayerContext) -> LintVerdict | None:
    """Check for opsets without Round, with which ONNX Runtime makes a float bias int32, fused or not."""
    if layer.graph.opset >= 11 or layer.bias is None or layer.activation is None or layer.output_quantiser is None:
        return None
    if layer.graph.stored(layer.bias) is None or (layer.weight is None and not layer.folded_weight):
        return None
    return LintVerdict(
        "refused",
        f"it has a float bias in opset {layer.graph.opset}: ONNX Runtime quantises the bias with a Round, which came "
        "with opset 11, and then refuses the graph that it made",
        "export with opset 13 or later",
    )


@RULES.register("bias_computed")
def bias_computed(layer: LayerContext) -> LintVerdict | None:
    if layer.bias is None or layer.activation is None or layer.graph.stored(layer.bias) is not None:
        return None
    if layer.graph.dequantiser(layer.bias) is not None:
        return None
    return LintVerdict(
        "float", f"its bias {layer.bias!r} is computed in float", "make the bias a constant, or " + QUANTISE_BIAS
    )


@RULES.register("bias_type")
def bias_type(layer: LayerContext) -> LintVerdict | None:
    bias = _quantised_bias(layer)
    if bias is None or bias.dtype == "int32":
        return None
    return LintVerdict("float", f"its bias is quantised to {bias.dtype}", QUANTISE_BIAS)


@RULES.register("bias_scale")
def bias_scale(layer: LayerContext) -> LintVerdict | None:
    """Check that an int32 bias has the scale of the sums, s_x · s_w: it is added to them as stored."""
    bias = _quantised_bias(layer)
    if bias is None or layer.op != "Conv" or bias.dtype != "int32":
        return None
    if bias.zero:
        return LintVerdict("float", f"its int32 bias has the zero point {bias.zero}", QUANTISE_BIAS)
    return None if _has_scale_of_sums(layer, bias) else LintVerdict("float", OTHER_SCALE, QUANTISE_BIAS)


@OF_INT8.register("bias_scale")
def bias_scale_ignored(layer: LayerContext) -> LintVerdict | None:
    """Check the scale where the layer is fused regardless, as a Gemm is."""
    bias = _quantised_bias(layer)
    if bias is None or _has_scale_of_sums(layer, bias):
        return None
    return LintVerdict("accuracy", f"{OTHER_SCALE}: ONNX Runtime adds it as if it were, which is wrong", QUANTISE_BIAS)


@RULES.register("gemm_factors")
def gemm_factors(layer: LayerContext) -> LintVerdict | None:
    if layer.op != "Gemm" or layer.bias is None or layer.activation is None:
        return None
    alpha, beta = attribute(layer.node, "alpha", 1.0), attribute(layer.node, "beta", 1.0)
    if alpha == beta == 1:
        return None
    return LintVerdict(
        "float",
        f"its alpha is {alpha:g} and its beta {beta:g}",
        "multiply alpha into the weight and beta into the bias",
    )


def _quantised_bias(layer: LayerContext) -> Quantiser | None:
    if layer.bias is None or layer.activation is None:
        return None
    return layer.graph.dequantiser(layer.bias)


def _has_scale_of_sums(layer: LayerContext, bias: Quantiser) -> bool:
    """Also where a scale is computed, and nobody knows."""
    if layer.activation is None or layer.weight is None or layer.activation.per_channel:
        return True
    given, into, weight = bias.scale, layer.activation.scale, layer.weight.scale
    if given is None or into is None or weight is None:
        return True
    product = np.ravel(into) * np.ravel(weight)
    fits = given.size in (1, product.size) or product.size == 1
    return fits and bool(np.allclose(np.ravel(given), product, rtol=SCALE_SHARE, atol=SCALE_REST))
