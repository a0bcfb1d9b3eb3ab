"""A rule on zeros in front of a max pooling: ONNX Runtime 1.31 makes both one pooling, which pads by −infinity."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.lint.graph import DEQUANTIZE, LintGraph, attribute
from edgekd.lint.layer import CLAMPS, MOVING, node_label
from edgekd.lint.result import EFFECTS, Effect, LintFinding
from edgekd.runtimes.onnxruntime.rules.output import bounds

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import NodeProto

# Inputs of a Pad that does not name its axes.
UNNAMED = 3
# Not below 0 where none of their inputs is.
KEEPING_SIGN = ("Add", "AveragePool", "Concat", "GlobalAveragePool")
NEVER_NEGATIVE = ("Abs", "Exp", "HardSigmoid", "Sigmoid", "Softmax", "Softplus", "Sqrt")
CONSEQUENCES: dict[Effect, str] = {
    "refused": "refuses it, since it pads by as much as the pooling's kernel",
    "accuracy": "pads by −infinity, so that a negative value at the border stays where 0 is larger",
}


def zero_padding(graph: LintGraph, reported: set[str]) -> Iterator[LintFinding]:
    """Yield one finding, the gravest, on each ``Pad`` of zeros that ONNX Runtime makes part of a ``MaxPool``."""
    fused = {node.output[0]: (effect, node) for node in graph.nodes if (effect := _effect(graph, node))}
    if not fused:
        return
    effect, pad = min(fused.values(), key=lambda each: EFFECTS.index(each[0]))
    [pooling] = graph.readers(pad.output[0])
    more = f" (and {len(fused) - 1} more)" if len(fused) > 1 else ""
    yield LintFinding(
        "zero_padding",
        effect,
        f"{node_label(pad)} puts zeros in front of {node_label(pooling)}{more}: ONNX Runtime makes both one pooling, "
        f"and {CONSEQUENCES[effect]}",
        "let the Pad name its axes (its fourth input, from opset 18 on), which keeps the two apart; or start the "
        'session with disabled_optimizers=["Pad_Fusion"]',
    )


def _effect(graph: LintGraph, pad: "NodeProto") -> Effect | None:
    if pad.op_type != "Pad" or len(pad.input) > UNNAMED or attribute(pad, "mode", b"constant") != b"constant":
        return None
    readers, sizes = graph.readers(pad.output[0]), _zeros(graph, pad)
    if sizes is None or len(readers) != 1 or graph.is_output(pad.output[0]) or not _takes_padding(readers[0]):
        return None
    kernel = attribute(readers[0], "kernel_shape", [])
    own = attribute(readers[0], "pads", [0] * len(sizes))
    if len(sizes) == len(own) == 2 * len(kernel) and (sizes + own >= np.tile(kernel, 2)).any():
        return "refused"
    return None if _is_never_negative(graph, pad.input[0]) else "accuracy"


def _takes_padding(node: "NodeProto") -> bool:
    is_bare = attribute(node, "auto_pad", b"NOTSET") == b"NOTSET" and len(node.output) == 1
    return node.op_type == "MaxPool" and is_bare


def _zeros(graph: LintGraph, pad: "NodeProto") -> "NDArray[np.int64] | None":
    """Return by how many zeros height and width grow, before and behind; None if anything else is padded."""
    sizes, value = _given(graph, pad, 1, "pads"), _given(graph, pad, 2, "value", 0.0)
    if sizes is None or value is None or np.any(value) or sizes.min(initial=0) < 0:
        return None
    ends = np.split(sizes, 2)
    of_images = np.concatenate([each[2:] for each in ends])
    return None if any(each[:2].any() for each in ends) or not of_images.any() else of_images


def _given(graph: LintGraph, pad: "NodeProto", place: int, name: str, absent: Any = None) -> "NDArray[Any] | None":
    """Return an input of a Pad, or the attribute that it was before opset 11; None if it is computed."""
    if len(pad.input) > place and pad.input[place]:
        return graph.constant(pad.input[place])
    found = attribute(pad, name, absent)
    return None if found is None else np.asarray(found)


def _is_never_negative(graph: LintGraph, name: str) -> bool:
    """Return whether no value of a tensor is below 0, so that zeros and −infinity pad it alike."""
    waiting, seen = [name], set()
    while waiting:
        name = graph.root(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        node = graph.source(name)
        if node is not None and node.op_type in MOVING:
            waiting.append(node.input[0])
        elif node is not None and node.op_type in KEEPING_SIGN:
            waiting += node.input
        elif not (_is_constant_above(graph, name) if node is None else _makes_no_negative(graph, node)):
            return False
    return True


def _is_constant_above(graph: LintGraph, name: str) -> bool:
    values = graph.constant(name)
    return values is not None and bool((values >= 0).all())


def _makes_no_negative(graph: LintGraph, node: "NodeProto") -> bool:
    if node.op_type == DEQUANTIZE:
        quantiser = graph.quantiser(node)
        return bool(quantiser.zero <= np.iinfo(quantiser.dtype).min)
    return node.op_type in NEVER_NEGATIVE or (node.op_type in CLAMPS and bounds(graph, node)[0] >= 0)
