"""Rules that hold on every runtime: a layer computes in int8 only on what is quantised."""

from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.lint.site import LintSite, named
from edgekd.registry import Registry

INPUTS: Rules = Registry("rule on inputs")


@INPUTS.register("not_quantised")
def not_quantised(site: LintSite) -> LintVerdict | None:
    if site.activation is not None or site.weight is not None:
        return None
    return LintVerdict(
        "float",
        "neither its activation nor its weight comes from a DequantizeLinear",
        "quantise both: a QuantizeLinear and DequantizeLinear before the layer and on its weight",
    )


@INPUTS.register("activation_float")
def activation_float(site: LintSite) -> LintVerdict | None:
    if site.activation is not None or site.weight is None:
        return None
    return LintVerdict(
        "float",
        f"its activation comes in float{from_where(site)}",
        "put a QuantizeLinear and DequantizeLinear before the layer",
    )


@INPUTS.register("weight_float")
def weight_float(site: LintSite) -> LintVerdict | None:
    if site.activation is None or site.weight is not None or site.folded_weight:
        return None
    return LintVerdict(
        "float",
        f"its second input {site.node.input[1]!r} is computed in float",
        "put a QuantizeLinear and DequantizeLinear on it",
    )


def from_where(site: LintSite) -> str:
    made = site.graph.source(site.node.input[0])
    return f" from {named(made)}" if made is not None else ""
