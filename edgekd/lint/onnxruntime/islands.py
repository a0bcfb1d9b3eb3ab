"""What stands between a DequantizeLinear and a QuantizeLinear and is computed in float all the same."""

from edgekd.lint.onnxruntime.joins import parameters
from edgekd.lint.onnxruntime.output import bounds_text, makes_idle, range_of, type_mismatch
from edgekd.lint.onnxruntime.types import EIGHT_BITS
from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.lint.site import CLAMPS, LintSite
from edgekd.registry import Registry

MOVING_VALUES: Rules = Registry("rule on what moves values")
ISLAND: Rules = Registry("rule on what has no int8 kernel")


@MOVING_VALUES.register("pool_scales")
def pool_scales(site: LintSite) -> LintVerdict | None:
    """It selects values, so that its output has the codes of its input only under the same scale and zero point."""
    into, out = site.activation, site.output_quantiser
    if into is None or out is None or parameters(into) == parameters(out):
        return None
    return LintVerdict(
        "float",
        "its input and its output have different scales or zero points",
        "share one scale and zero point between its input and its output",
    )


MOVING_VALUES["type_mismatch"] = type_mismatch


@MOVING_VALUES.register("pool_opset")
def pool_opset(site: LintSite) -> LintVerdict | None:
    if site.op != "MaxPool" or site.graph.opset >= 12:
        return None
    return LintVerdict(
        "float", f"MaxPool takes int8 from opset 12 on, the file has {site.graph.opset}", "use opset 13 or later"
    )


@ISLAND.register("clamp_between_pairs")
def clamp_between_pairs(site: LintSite) -> LintVerdict | None:
    taken = site.output_quantiser
    if (
        site.op not in CLAMPS
        or taken is None
        or (taken.dtype in EIGHT_BITS and makes_idle(site.graph, taken, site.node))
    ):
        return None
    return LintVerdict(
        "float",
        f"it stands between two pairs of quantisers and is computed in float: {range_of(taken)} reaches beyond "
        + bounds_text(site, site.node),
        "take out the pair before it, and let the range of the one behind it end where it does (ReLU: uint8, zero "
        "point 0; ReLU6: scale 6/255 besides)",
    )


@ISLAND.register("no_int8_kernel")
def no_int8_kernel(site: LintSite) -> LintVerdict | None:
    if site.op in CLAMPS:
        return None
    return LintVerdict(
        "float",
        f"ONNX Runtime has no int8 kernel for {site.op} on the CPU: it converts to float and back",
        "leave out the quantisers around it, or replace it",
    )
