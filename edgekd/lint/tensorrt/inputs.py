"""What TensorRT asks of the activation and the weight of a layer that is to compute in int8."""

from edgekd.lint.graph import attribute
from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.lint.site import LintSite
from edgekd.registry import Registry

RULES: Rules = Registry("rule on inputs")
OF_INT8: Rules = Registry("rule on int8 layers")


@RULES.register("weights_folded")
def weights_folded(site: LintSite) -> LintVerdict | None:
    if site.activation is None or not site.folded_weight:
        return None
    return LintVerdict(
        "float",
        "its weight is stored in float: a simplifier folded its DequantizeLinear",
        "keep the DequantizeLinear of the weight: simplify the float file before it is quantised, not after",
    )


@RULES.register("activation_per_channel")
def activation_per_channel(site: LintSite) -> LintVerdict | None:
    if site.activation is None or not site.activation.per_channel:
        return None
    return LintVerdict(
        "float",
        f"its activation has {site.activation.scale.size} scales; TensorRT has int8 kernels for one",  # type: ignore[union-attr]
        "quantise activations per tensor",
    )


@OF_INT8.register("kernel_shape")
def kernel_shape(site: LintSite) -> LintVerdict | None:
    """The parser of TensorRT 8 reads the kernel's size off the weight, which a DequantizeLinear hides from it."""
    if site.op not in ("Conv", "ConvTranspose") or site.weight is None or attribute(site.node, "kernel_shape"):
        return None
    return LintVerdict(
        "note",
        "it has no kernel_shape and its weight comes from a DequantizeLinear, which older TensorRT does not parse",
        f"write kernel_shape={list(site.weight_shape[2:])} into the node",
    )
