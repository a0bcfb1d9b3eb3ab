"""Clip folding: clamps are applied to the 8-bit codes, where the file's codes reach further than the trained ones.

A symmetric range has 128 codes for nonnegative values, and the uint8 that lets ONNX Runtime fuse a ReLU with the
convolution has 256. Without a clamp, values above the trained range would pass where the trained network clips them,
and such large codes overflow with 8-bit weights on processors that saturate. A ReLU6 is not redundant in half of the
codes either, and would keep its convolution in float. On the codes either clamp is one pass over bytes.
"""

import numpy as np
import onnx_ir as ir

from edgekd.deploy.plan import QdqPlan
from edgekd.deploy.qdq import QdqPair, constant, initializer, required
from edgekd.deploy.zero_points import KEEPING

SYMMETRIC_MOST = 127


def fold_clips(graph: ir.Graph, plan: QdqPlan) -> None:
    """Clamp the codes of the kept Q/DQ pairs to the trained range, in place."""
    for index, pair in enumerate(plan.kept):
        maker = pair.source.producer() if pair.quantize.graph is not None else None
        if maker is None or maker.op_type in KEEPING:
            continue  # the pair is gone, or its codes are those of another pair, clamped already
        low, high = _range(pair, maker, plan.symmetric)
        ends = np.iinfo(pair.zero_point.dtype)
        if low <= ends.min and high >= ends.max:
            continue
        bounds = [
            initializer(graph, f"clip_{index}_{end}", np.array(max(ends.min, code), pair.zero_point.dtype))
            for end, code in (("low", low), ("high", high))
        ]
        inside = ir.node("Clip", [pair.quantize.outputs[0], *bounds], name=f"{maker.name}/codes")
        inside.outputs[0].type = pair.quantize.outputs[0].type
        pair.quantize.append(inside)
        pair.dequantize.replace_input_with(0, inside.outputs[0])
        if maker.op_type == "Clip" and len(pair.source.consumers()) == 1 and not pair.source.is_graph_output():
            pair.quantize.replace_input_with(0, required(maker, 0))
            graph.remove(maker, safe=True)


def _range(pair: QdqPair, maker: ir.Node, symmetric: bool) -> tuple[int, int]:
    """Return the smallest and the largest code of the trained network."""
    ends, zero_point = np.iinfo(pair.zero_point.dtype), int(pair.zero_point)
    most = min(zero_point + SYMMETRIC_MOST, ends.max) if symmetric else ends.max
    if maker.op_type != "Clip":
        return ends.min, most
    low, high = (_code(maker, bound, float(pair.scale), zero_point) for bound in (1, 2))
    return ends.min if low is None else low, most if high is None else min(high, most)


def _code(clip: ir.Node, bound: int, scale: float, zero_point: int) -> int | None:
    value = clip.inputs[bound] if len(clip.inputs) > bound else None
    if value is None or value.const_value is None:
        return None
    return int(np.rint(float(constant(value)) / scale)) + zero_point
