"""What ONNX Runtime asks of the weight's scales and values."""

import numpy as np

from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.lint.site import LintSite
from edgekd.registry import Registry

RULES: Rules = Registry("rule on weights")
OF_INT8: Rules = Registry("rule on weights of int8 layers")

# 2 · 255 · 64 = 32640 is the largest sum of two products of 8 bits that 16 bits hold: VPMADDUBSW saturates above.
REDUCED = (-64, 63)


@RULES.register("weight_axis")
def weight_axis(site: LintSite) -> LintVerdict | None:
    """Only the fusion of a Gemm looks at the axis, and that of a float bias into any layer."""
    if not site.misplaced_scales or not (site.op == "Gemm" or site.bias_sum is not None or _float_bias(site)):
        return None
    return LintVerdict("float", *_axes(site))


@OF_INT8.register("weight_axis")
def weight_axis_ignored(site: LintSite) -> LintVerdict | None:
    if not site.misplaced_scales:
        return None
    message, advice = _axes(site)
    if site.weight_shape[site.weight_axis] == site.weight_shape[site.channel_axis]:
        return LintVerdict("accuracy", f"{message}: ONNX Runtime takes them for the outputs', which is wrong", advice)
    return LintVerdict("refused", f"{message}: ONNX Runtime loads it and fails at the first run", advice)


@OF_INT8.register("weights_saturate")
def weights_saturate(site: LintSite) -> LintVerdict | None:
    """Registered for every target; only x86 without VNNI adds pairs of products in 16 bits."""
    if not site.saturates or site.activation is None or site.weight is None or site.weight.dtype != "int8":
        return None
    weight = site.stored_weight
    if weight is None or not weight.size or (weight.min() >= REDUCED[0] and weight.max() <= REDUCED[1]):
        return None
    beyond = int(np.count_nonzero((weight < REDUCED[0]) | (weight > REDUCED[1])))
    return LintVerdict(
        "accuracy",
        f"{beyond} of {weight.size} weights are outside [{REDUCED[0]}, {REDUCED[1]}]: without VNNI, sums of two "
        "products saturate at 16 bits",
        "quantise the weights to 7 bits (reduce_range), or set session.x64quantprecision=1 where accuracy is measured",
    )


def _axes(site: LintSite) -> tuple[str, str]:
    wanted = site.channel_axis
    return (
        f"its weight's scales lie on axis {site.weight_axis}, its output channels on axis {wanted}",
        f"quantise the weight per tensor, or with axis={wanted}",
    )


def _float_bias(site: LintSite) -> bool:
    return site.bias is not None and site.graph.stored(site.bias) is not None
