"""Rules on convolutions that TensorRT computes no faster in int8 than in float16.

They follow NVIDIA's Model-Optimizer where it places Q/DQ (graph_utils.py, find_nodes_from_convs_to_exclude).
"""

from edgekd.lint.common import UPSAMPLE
from edgekd.lint.layer import LayerContext
from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.registry import Registry

OF_INT8: Rules = Registry("rule on channels")

FULL, PART = 16, 8
ADVICE = "leave it in float16 (no quantisers around it), or prune to multiples of 16 channels, 8 at least"


@OF_INT8.register("channels")
def channels(layer: LayerContext) -> LintVerdict | None:
    if layer.op not in ("Conv", "ConvTranspose") or len(layer.weight_shape) < 3:
        return None
    out, into = counts(layer)
    if (out >= FULL and into >= FULL) or _dense_exception(layer, out, into) or _grouped_exception(layer, out):
        return None
    of = f", {layer.group} groups" if layer.group > 1 else ""
    kernel = "x".join(map(str, layer.weight_shape[2:]))
    return LintVerdict(
        "slow", f"{into} to {out} channels{of}, kernel {kernel}: int8 kernels are padded to 16 or 32", ADVICE
    )


@OF_INT8.register("transposed")
def transposed(layer: LayerContext) -> LintVerdict | None:
    if layer.op != "ConvTranspose":
        return None
    return LintVerdict(
        "note",
        "TensorRT for RTX 1.7 computes transposed convolutions in float, quantised or not",
        f"time it against a file without quantisers around it, or {UPSAMPLE}",
    )


@OF_INT8.register("grouped")
def grouped(layer: LayerContext) -> LintVerdict | None:
    if layer.op != "Conv" or layer.group == 1 or not layer.weight_shape:
        return None
    if layer.weight_shape[1] == 1:
        return None
    return LintVerdict(
        "slow",
        f"it has {layer.group} groups of several channels, which TensorRT may compute one by one in int8",
        "time it against float16",
    )


def counts(layer: LayerContext) -> tuple[int, int]:
    """Return the output channels, and the input channels of a group."""
    first, second = layer.weight_shape[:2]
    return (second * layer.group, first // layer.group) if layer.op == "ConvTranspose" else (first, second)


def _dense_exception(layer: LayerContext, out: int, into: int) -> bool:
    in_eights = out % PART == 0 or into % PART == 0
    square = len(set(layer.weight_shape[2:])) == 1
    return layer.group == 1 and in_eights and (_is_first(layer) or out >= FULL or into >= FULL) and square


def _grouped_exception(layer: LayerContext, out: int) -> bool:
    return layer.group > 1 and out % PART == 0 and min(layer.weight_shape[2:]) >= 3


def _is_first(layer: LayerContext) -> bool:
    """Whether nothing but quantisers lies between the network's input and the layer."""
    node = layer.graph.source(layer.node.input[0])
    while node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        node = layer.graph.source(node.input[0])
    return node is None
