"""Rules on residual sums that TensorRT fuses into the convolution before them, and on breaks in a run of int8."""

from typing import TYPE_CHECKING

from edgekd.lint.layer import LayerContext, node_label
from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.registry import Registry

if TYPE_CHECKING:
    from onnx import NodeProto

JOINS: Rules = Registry("rule on sums and concatenations")
OF_INT8: Rules = Registry("rule on int8 sums and concatenations")
UNARY: Rules = Registry("rule on poolings")

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@OF_INT8.register("residual_both_quantised")
def residual_both_quantised(layer: LayerContext) -> LintVerdict | None:
    """Check that the sum reads a convolution's float output: only then does it join its kernel."""
    if layer.op != "Add" or len(layer.node.input) != 2:
        return None
    behind = [layer.graph.dequantiser(name) for name in layer.node.input]
    if any(each is None for each in behind):
        return None
    makers = [_maker(layer, each.node.input[0]) for each in behind if each is not None]
    branch = next((maker for maker in makers if maker is not None and maker.op_type in PRODUCTS), None)
    if branch is None:
        return None
    return LintVerdict(
        "slow",
        f"both its inputs are quantised, so that it does not join {node_label(branch)} and runs by itself",
        f"take the quantisers away between {node_label(branch)} and the sum; keep those of the identity",
    )


@JOINS.register("residual_float")
def residual_float(layer: LayerContext) -> LintVerdict | None:
    if any(layer.graph.dequantiser(name, layer.moving) is not None for name in layer.node.input):
        return None
    return LintVerdict(
        "float", "none of its inputs is quantised, and its output is", "put a quantiser on the identity's side"
    )


@OF_INT8.register("concat_scales")
def concat_scales(layer: LayerContext) -> LintVerdict | None:
    quantisers = [layer.graph.dequantiser(name, layer.moving) for name in layer.node.input]
    known = {each.parameters for each in (*quantisers, layer.output_quantiser) if each is not None}
    if layer.op != "Concat" or len(known) < 2:
        return None
    return LintVerdict(
        "slow",
        "its inputs and its output have different scales: each is requantised",
        "share one scale between its inputs and its output",
    )


@UNARY.register("pool_half_quantised")
def pool_half_quantised(layer: LayerContext) -> LintVerdict | None:
    into, out = layer.activation is not None, layer.output_quantiser is not None
    if into == out:
        return None
    missing = "output" if into else "input"
    return LintVerdict("float", f"its {missing} is not quantised", f"quantise its {missing} too, or neither side")


def _maker(layer: LayerContext, name: str) -> "NodeProto | None":
    quantise = layer.graph.source(name)
    return layer.graph.source(quantise.input[0]) if quantise is not None else None
