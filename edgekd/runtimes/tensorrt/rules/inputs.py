"""Rules on the activation and the weight of a layer that is to compute in int8 in TensorRT."""

from edgekd.lint.graph import attribute
from edgekd.lint.layer import LayerContext
from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.registry import Registry

RULES: Rules = Registry("rule on inputs")
OF_INT8: Rules = Registry("rule on int8 layers")


@RULES.register("weights_folded")
def weights_folded(layer: LayerContext) -> LintVerdict | None:
    if layer.activation is None or not layer.folded_weight:
        return None
    return LintVerdict(
        "float",
        "its weight is stored in float: a simplifier folded its DequantizeLinear",
        "keep the DequantizeLinear of the weight: simplify the float file before it is quantised, not after",
    )


@RULES.register("activation_per_channel")
def activation_per_channel(layer: LayerContext) -> LintVerdict | None:
    if layer.activation is None or not layer.activation.per_channel:
        return None
    return LintVerdict(
        "float",
        f"its activation has {layer.activation.scale.size} scales; TensorRT has int8 kernels for one",  # type: ignore[union-attr]
        "quantise activations per tensor",
    )


@OF_INT8.register("kernel_shape")
def kernel_shape(layer: LayerContext) -> LintVerdict | None:
    """Check for kernel_shape: TensorRT 8's parser reads it off the weight, which a DequantizeLinear hides."""
    if layer.op not in ("Conv", "ConvTranspose") or layer.weight is None or attribute(layer.node, "kernel_shape"):
        return None
    return LintVerdict(
        "note",
        "it has no kernel_shape and its weight comes from a DequantizeLinear, which older TensorRT does not parse",
        f"write kernel_shape={list(layer.weight_shape[2:])} into the node",
    )
