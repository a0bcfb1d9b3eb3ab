"""What ONNX Runtime asks of sums, products of activations, concatenations, and poolings."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.lint.common import from_where
from edgekd.lint.graph import Quantiser
from edgekd.lint.onnxruntime.types import EIGHT_BITS, input_type
from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.lint.site import LintSite, named
from edgekd.registry import Registry

JOINS: Rules = Registry("rule on sums and concatenations")
UNARY: Rules = Registry("rule on poolings")
OF_INT8: Rules = Registry("rule on int8 sums and poolings")

# Their int8 operators check the shape of scales; those of others take one value in a list too.
SCALARS_ONLY = ("Add", "Mul", "AveragePool")


@JOINS.register("residual_float")
def residual_float(site: LintSite) -> LintVerdict | None:
    """Both sides of a residual have a quantiser, or the sum is in float and the convolution before it too."""
    missing = [name for name in site.node.input if site.graph.dequantiser(name, site.moving) is None]
    if not missing:
        return None
    makers = [site.graph.source(name) for name in missing]
    sources = [named(maker) if maker is not None else repr(name) for maker, name in zip(makers, missing, strict=True)]
    if len(missing) == len(site.node.input):
        return LintVerdict("float", "none of its inputs is quantised", "put a quantiser on each of its inputs")
    return LintVerdict(
        "float",
        f"a quantiser is missing on one side: {', '.join(dict.fromkeys(sources))} comes in float",
        "put a QuantizeLinear and DequantizeLinear on every input",
    )


@JOINS.register("input_types")
def input_types(site: LintSite) -> LintVerdict | None:
    types = {kind for name in site.node.input if (kind := input_type(site, name)) is not None}
    if len(types) > 1:
        return LintVerdict(
            "float", f"its inputs are {' and '.join(sorted(types))}", "quantise all activations to one type"
        )
    if types and not types <= set(EIGHT_BITS):
        return LintVerdict("float", f"its inputs are {types.pop()}", "quantise to 8 bits")
    return None


@OF_INT8.register("concat_scales")
def concat_scales(site: LintSite) -> LintVerdict | None:
    """Runs in int8, but brings each input to the output's scale one by one instead of copying it."""
    quantisers = [*_inputs(site), *([site.output_quantiser] if site.output_quantiser else [])]
    if site.op != "Concat" or len({parameters(each) for each in quantisers}) < 2:
        return None
    return LintVerdict(
        "slow",
        "its inputs and its output have different scales: each is requantised",
        "share one scale and zero point between its inputs and its output",
    )


@OF_INT8.register("scale_shape")
def scale_shape(site: LintSite) -> LintVerdict | None:
    quantisers = [*_inputs(site), *([site.output_quantiser] if site.output_quantiser else [])]
    lists = [each for each in quantisers if _is_list(each.scale) or _is_list(each.zero_point)]
    if site.op not in SCALARS_ONLY or not lists:
        return None
    return LintVerdict(
        "refused",
        f"{named(lists[0].node)} has its scale or zero point in a list, not as a scalar: ONNX Runtime makes it a "
        f"QLinear{site.op}, which it then refuses",
        "write scales and zero points of activations as scalars, of no dimension",
    )


@UNARY.register("activation_float")
def activation_float(site: LintSite) -> LintVerdict | None:
    if site.activation is not None:
        return None
    return LintVerdict(
        "float",
        f"its input comes in float{from_where(site)}",
        "put a QuantizeLinear and DequantizeLinear before it",
    )


def parameters(quantiser: Quantiser) -> tuple[object, ...]:
    """Scale, zero point and type, to be compared."""
    scale = None if quantiser.scale is None else tuple(np.ravel(quantiser.scale).tolist())
    return scale, quantiser.zero, quantiser.dtype


def _inputs(site: LintSite) -> list[Quantiser]:
    found = (site.graph.dequantiser(name, site.moving) for name in site.node.input)
    return [each for each in found if each is not None]


def _is_list(value: NDArray[Any] | None) -> bool:
    return value is not None and value.ndim > 0
