"""Per-channel weights: TensorRT multiplies by their scales after the sum, so they must lie on the output channels."""

from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.lint.site import LintSite
from edgekd.registry import Registry

RULES: Rules = Registry("rule on weights")


@RULES.register("axis_missing")
def axis_missing(site: LintSite) -> LintVerdict | None:
    """ONNX's default is 1, and 0 in the parser of TensorRT 10."""
    if site.activation is None or site.weight is None or not site.weight.per_channel or site.weight.axis is not None:
        return None
    return LintVerdict(
        "accuracy",
        "the DequantizeLinear of its weight has several scales and no axis, which TensorRT's versions read differently",
        f"write axis={site.channel_axis} into it",
    )


@RULES.register("weight_axis")
def weight_axis(site: LintSite) -> LintVerdict | None:
    if not site.misplaced_scales:
        return None
    return LintVerdict(
        "float",
        f"its weight's scales lie on axis {site.weight_axis}, its output channels on axis {site.channel_axis}",
        f"quantise the weight per tensor, or with axis={site.channel_axis}",
    )
