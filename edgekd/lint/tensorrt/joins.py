"""Where TensorRT fuses a residual sum into the convolution before it, and what breaks a run of int8."""

from typing import TYPE_CHECKING

from edgekd.lint.onnxruntime.joins import parameters
from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.lint.site import LintSite, named
from edgekd.registry import Registry

if TYPE_CHECKING:
    from onnx import NodeProto

JOINS: Rules = Registry("rule on sums and concatenations")
OF_INT8: Rules = Registry("rule on int8 sums and concatenations")
UNARY: Rules = Registry("rule on poolings")

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@OF_INT8.register("residual_both_quantised")
def residual_both_quantised(site: LintSite) -> LintVerdict | None:
    """The sum joins the kernel of the convolution whose float output it reads, and hands out int8 from there."""
    if site.op != "Add" or len(site.node.input) != 2:
        return None
    behind = [site.graph.dequantiser(name) for name in site.node.input]
    if any(each is None for each in behind):
        return None
    makers = [_maker(site, each.node.input[0]) for each in behind if each is not None]
    branch = next((maker for maker in makers if maker is not None and maker.op_type in PRODUCTS), None)
    if branch is None:
        return None
    return LintVerdict(
        "slow",
        f"both its inputs are quantised, so that it does not join {named(branch)} and runs by itself",
        f"take the quantisers away between {named(branch)} and the sum; keep those of the identity",
    )


@JOINS.register("residual_float")
def residual_float(site: LintSite) -> LintVerdict | None:
    if any(site.graph.dequantiser(name, site.moving) is not None for name in site.node.input):
        return None
    return LintVerdict(
        "float", "none of its inputs is quantised, and its output is", "put a quantiser on the identity's side"
    )


@OF_INT8.register("concat_scales")
def concat_scales(site: LintSite) -> LintVerdict | None:
    quantisers = [site.graph.dequantiser(name, site.moving) for name in site.node.input]
    known = {parameters(each) for each in (*quantisers, site.output_quantiser) if each is not None}
    if site.op != "Concat" or len(known) < 2:
        return None
    return LintVerdict(
        "slow",
        "its inputs and its output have different scales: each is requantised",
        "share one scale between its inputs and its output",
    )


@UNARY.register("pool_half_quantised")
def pool_half_quantised(site: LintSite) -> LintVerdict | None:
    into, out = site.activation is not None, site.output_quantiser is not None
    if into == out:
        return None
    missing = "output" if into else "input"
    return LintVerdict("float", f"its {missing} is not quantised", f"quantise its {missing} too, or neither side")


def _maker(site: LintSite, name: str) -> "NodeProto | None":
    quantise = site.graph.source(name)
    return site.graph.source(quantise.input[0]) if quantise is not None else None
