"""Rules on the scales and values of weights in ONNX Runtime."""

from edgekd.lint.common import saturating
from edgekd.lint.layer import LayerContext
from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.registry import Registry

RULES: Rules = Registry("rule on weights")
OF_INT8: Rules = Registry("rule on weights of int8 layers")

# VPMADDUBSW saturates above: 2 · 255 · 64 = 32640 fits, and where codes are clipped to 127 so do weights of 8 bits.
MOST_OF_16 = 2**15 - 1


@RULES.register("weight_axis")
def weight_axis(layer: LayerContext) -> LintVerdict | None:
    """Check the axis of the scales where a fusion does: that of a Gemm, or of a float bias into any layer."""
    if not layer.misplaced_scales or not (layer.op == "Gemm" or layer.bias_sum is not None or _float_bias(layer)):
        return None
    return LintVerdict("float", *_axes(layer))


@OF_INT8.register("weight_axis")
def weight_axis_ignored(layer: LayerContext) -> LintVerdict | None:
    if not layer.misplaced_scales:
        return None
    message, advice = _axes(layer)
    if layer.weight_shape[layer.weight_axis] == layer.weight_shape[layer.channel_axis]:
        return LintVerdict("accuracy", f"{message}: ONNX Runtime takes them for the outputs', which is wrong", advice)
    return LintVerdict("refused", f"{message}: ONNX Runtime loads it and fails at the first run", advice)


@OF_INT8.register("weights_saturate")
def weights_saturate(layer: LayerContext) -> LintVerdict | None:
    """Check for weights that saturate; only x86 without VNNI adds pairs of products in 16 bits."""
    if not layer.saturates or layer.activation is None or layer.weight is None or layer.weight.dtype != "int8":
        return None
    advice = (
        "quantise the weights to 7 bits (reduce_range), or set session.x64quantprecision=1 where accuracy is measured"
    )
    largest = MOST_OF_16 // (2 * max(layer.highest_code, 1))
    return saturating(layer.stored_weight, advice, (-largest, largest))


def _axes(layer: LayerContext) -> tuple[str, str]:
    wanted = layer.channel_axis
    return (
        f"its weight's scales lie on axis {layer.weight_axis}, its output channels on axis {wanted}",
        f"quantise the weight per tensor, or with axis={wanted}",
    )


def _float_bias(layer: LayerContext) -> bool:
    return layer.bias is not None and layer.graph.stored(layer.bias) is not None
