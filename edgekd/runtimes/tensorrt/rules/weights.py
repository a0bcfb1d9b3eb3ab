"""Rules on per-channel weights: TensorRT multiplies by the scales after the sum, so they must be per output channel."""

from edgekd.lint.layer import LayerContext
from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.registry import Registry

RULES: Rules = Registry("rule on weights")


@RULES.register("axis_missing")
def axis_missing(layer: LayerContext) -> LintVerdict | None:
    """Check for a missing axis: ONNX's default is 1, and 0 in the parser of TensorRT 10."""
    if (
        layer.activation is None
        or layer.weight is None
        or not layer.weight.per_channel
        or layer.weight.axis is not None
    ):
        return None
    return LintVerdict(
        "accuracy",
        "the DequantizeLinear of its weight has several scales and no axis, which TensorRT's versions read differently",
        f"write axis={layer.channel_axis} into it",
    )


@RULES.register("weight_axis")
def weight_axis(layer: LayerContext) -> LintVerdict | None:
    if not layer.misplaced_scales:
        return None
    return LintVerdict(
        "float",
        f"its weight's scales lie on axis {layer.weight_axis}, its output channels on axis {layer.channel_axis}",
        f"quantise the weight per tensor, or with axis={layer.channel_axis}",
    )
