"""When a bias keeps ONNX Runtime from fusing a layer, and when it makes it compute something else."""

import numpy as np

from edgekd.lint.graph import Quantiser, attribute
from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.lint.site import LintSite
from edgekd.registry import Registry

RULES: Rules = Registry("rule on biases")
OF_INT8: Rules = Registry("rule on biases of int8 layers")

OTHER_SCALE = "the scale of its int32 bias is not that of the sums, s_x · s_w"
QUANTISE_BIAS = "store the bias in int32 behind a DequantizeLinear of scale s_x · s_w and zero point 0"
# How far ONNX Runtime 1.31 lets a scale be off before it leaves a convolution in float; found by bisection.
SCALE_SHARE, SCALE_REST = 1e-2, 1e-6


@RULES.register("float_bias")
def float_bias(site: LintSite) -> LintVerdict | None:
    """ONNX Runtime makes a float bias int32 itself, for Conv and Gemm, if it has one dimension and the output a Q."""
    if site.bias is None or site.activation is None or site.graph.stored(site.bias) is None:
        return None
    size = tuple(site.graph.stored(site.bias).dims)  # type: ignore[union-attr]
    if len(size) != 1:
        return LintVerdict("float", f"its float bias has {len(size)} dimensions instead of one", QUANTISE_BIAS)
    if site.activation.per_channel:
        return LintVerdict("float", "its bias is in float beside an activation of several scales", QUANTISE_BIAS)
    if site.output_quantiser is None and site.op != "Conv":
        return LintVerdict(
            "float",
            "its bias is in float and its output is not quantised, where ONNX Runtime does not make the bias int32",
            QUANTISE_BIAS + ", or quantise the output",
        )
    if site.weight is not None and site.weight.per_channel and site.weight.scale is not None:
        channels = site.weight.scale.size
        if size[0] != channels:
            return LintVerdict("float", f"its bias has {size[0]} values for {channels} channels", QUANTISE_BIAS)
    return None


@RULES.register("opset")
def opset(site: LintSite) -> LintVerdict | None:
    """What ONNX Runtime makes a float bias int32 with holds a Round of floats, whether or not the layer is fused."""
    if site.graph.opset >= 11 or site.bias is None or site.activation is None or site.output_quantiser is None:
        return None
    if site.graph.stored(site.bias) is None or (site.weight is None and not site.folded_weight):
        return None
    return LintVerdict(
        "refused",
        f"it has a float bias in opset {site.graph.opset}: ONNX Runtime quantises the bias with a Round, which came "
        "with opset 11, and then refuses the graph that it made",
        "export with opset 13 or later",
    )


@RULES.register("bias_computed")
def bias_computed(site: LintSite) -> LintVerdict | None:
    if site.bias is None or site.activation is None or site.graph.stored(site.bias) is not None:
        return None
    if site.graph.dequantiser(site.bias) is not None:
        return None
    return LintVerdict(
        "float", f"its bias {site.bias!r} is computed in float", "make the bias a constant, or " + QUANTISE_BIAS
    )


@RULES.register("bias_type")
def bias_type(site: LintSite) -> LintVerdict | None:
    bias = _quantised_bias(site)
    if bias is None or bias.dtype == "int32":
        return None
    return LintVerdict("float", f"its bias is quantised to {bias.dtype}", QUANTISE_BIAS)


@RULES.register("bias_scale")
def bias_scale(site: LintSite) -> LintVerdict | None:
    """int32 sums have the scale s_x · s_w, and a bias is added to them as it is stored."""
    bias = _quantised_bias(site)
    if bias is None or site.op != "Conv" or bias.dtype != "int32":
        return None
    if bias.zero:
        return LintVerdict("float", f"its int32 bias has the zero point {bias.zero}", QUANTISE_BIAS)
    return None if _has_scale_of_sums(site, bias) else LintVerdict("float", OTHER_SCALE, QUANTISE_BIAS)


@OF_INT8.register("bias_scale")
def bias_scale_ignored(site: LintSite) -> LintVerdict | None:
    """The fusion of a Gemm does not look at it."""
    bias = _quantised_bias(site)
    if bias is None or _has_scale_of_sums(site, bias):
        return None
    return LintVerdict("accuracy", f"{OTHER_SCALE}: ONNX Runtime adds it as if it were, which is wrong", QUANTISE_BIAS)


@RULES.register("gemm_factors")
def gemm_factors(site: LintSite) -> LintVerdict | None:
    if site.op != "Gemm" or site.bias is None or site.activation is None:
        return None
    alpha, beta = attribute(site.node, "alpha", 1.0), attribute(site.node, "beta", 1.0)
    if alpha == beta == 1:
        return None
    return LintVerdict(
        "float",
        f"its alpha is {alpha:g} and its beta {beta:g}",
        "multiply alpha into the weight and beta into the bias",
    )


def _quantised_bias(site: LintSite) -> Quantiser | None:
    if site.bias is None or site.activation is None:
        return None
    return site.graph.dequantiser(site.bias)


def _has_scale_of_sums(site: LintSite, bias: Quantiser) -> bool:
    """Also where a scale is computed, and nobody knows."""
    if site.activation is None or site.weight is None or site.activation.per_channel:
        return True
    given, into, weight = bias.scale, site.activation.scale, site.weight.scale
    if given is None or into is None or weight is None:
        return True
    product = np.ravel(into) * np.ravel(weight)
    fits = given.size in (1, product.size) or product.size == 1
    return fits and bool(np.allclose(np.ravel(given), product, rtol=SCALE_SHARE, atol=SCALE_REST))
