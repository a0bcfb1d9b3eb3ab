"""Rules on operators between a DequantizeLinear and a QuantizeLinear that still compute in float."""

from edgekd.lint.common import UPSAMPLE
from edgekd.lint.graph import attribute
from edgekd.lint.layer import CLAMPS, LayerContext
from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.registry import Registry
from edgekd.runtimes.onnxruntime.rules.output import bounds_text, makes_idle, range_of, type_mismatch
from edgekd.runtimes.onnxruntime.rules.types import EIGHT_BITS

# Between two pairs of one scale they move codes.
KEEPING_CODES = ("DepthToSpace", "Gather", "Expand", "Tile")

MOVING_VALUES: Rules = Registry("rule on what moves values")
ISLAND: Rules = Registry("rule on what has no int8 kernel")


@MOVING_VALUES.register("interpolation")
def interpolation(layer: LayerContext) -> LintVerdict | None:
    if (mode := _mode(layer)) == "nearest":
        return None
    return LintVerdict(
        "float",
        f"it interpolates in mode {mode}, which ONNX Runtime computes in float: it converts to float and back",
        "let it take the nearest value (mode nearest), and leave smoothing to the convolution behind it",
    )


@MOVING_VALUES.register("pool_scales")
def pool_scales(layer: LayerContext) -> LintVerdict | None:
    """Check that input and output share scale and zero point: the operator selects values and keeps their codes."""
    into, out = layer.activation, layer.output_quantiser
    if into is None or out is None or into.parameters == out.parameters or _mode(layer) != "nearest":
        return None
    return LintVerdict(
        "float",
        "its input and its output have different scales or zero points",
        "share one scale and zero point between its input and its output",
    )


MOVING_VALUES["type_mismatch"] = type_mismatch


@MOVING_VALUES.register("pool_opset")
def pool_opset(layer: LayerContext) -> LintVerdict | None:
    if layer.op != "MaxPool" or layer.graph.opset >= 12:
        return None
    return LintVerdict(
        "float", f"MaxPool takes int8 from opset 12 on, the file has {layer.graph.opset}", "use opset 13 or later"
    )


@ISLAND.register("clamp_between_pairs")
def clamp_between_pairs(layer: LayerContext) -> LintVerdict | None:
    taken = layer.output_quantiser
    if (
        layer.op not in CLAMPS
        or taken is None
        or (taken.dtype in EIGHT_BITS and makes_idle(layer.graph, taken, layer.node))
    ):
        return None
    return LintVerdict(
        "float",
        f"it stands between two pairs of quantisers and is computed in float: {range_of(taken)} reaches beyond "
        + bounds_text(layer, layer.node),
        "take out the pair before it, and let the range of the one behind it end where it does (ReLU: uint8, zero "
        "point 0; ReLU6: scale 6/255 besides)",
    )


@ISLAND.register("no_int8_kernel")
def no_int8_kernel(layer: LayerContext) -> LintVerdict | None:
    if layer.op in CLAMPS or (layer.op in KEEPING_CODES and pool_scales(layer) is None):
        return None
    return LintVerdict(
        "float",
        f"ONNX Runtime has no int8 kernel for {layer.op} on the CPU: it converts to float and back",
        UPSAMPLE if layer.op == "ConvTranspose" else "leave out the quantisers around it, or replace it",
    )


def _mode(layer: LayerContext) -> str:
    """Return how values are found between others: a Resize says it, and other operators only move values."""
    mode = attribute(layer.node, "mode", b"nearest") if layer.op == "Resize" else "nearest"
    return mode.decode() if isinstance(mode, bytes) else str(mode)
