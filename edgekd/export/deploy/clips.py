"""Clamps on the 8-bit codes instead of before them, where the file's codes reach further than the trained ones.

A symmetric range has 128 codes for what is never negative, and the uint8 that lets ONNX Runtime take a ReLU into the
convolution has 256. Without a clamp values above the trained range would go on where the trained network cuts them, and
codes so large leave no room for 8-bit weights on processors that saturate. A ReLU6 is not redundant in half of the
codes either: its convolution would stay in float. On the codes both are one pass over bytes.
"""

import numpy as np
import onnx_ir as ir

from edgekd.export.deploy.encode import KEEPING
from edgekd.export.deploy.places import QdqPair, constant, given, initializer
from edgekd.export.deploy.plan import QdqPlan

SYMMETRIC_MOST = 127


def clip_codes(graph: ir.Graph, plan: QdqPlan, symmetric: bool) -> None:
    """Clamps codes where they are made in int8, in place.

    Args:
        symmetric: the range was trained with codes from -128 to 127 around 0, whatever the file's type is.
    """
    for index, place in enumerate(plan.kept):
        maker = place.source.producer() if place.quantize.graph is not None else None
        if maker is None or maker.op_type in KEEPING:
            continue  # the place is gone, or has the codes of another, clamped already
        low, high = _range(place, maker, symmetric)
        ends = np.iinfo(place.zero_point.dtype)
        if low <= ends.min and high >= ends.max:
            continue
        bounds = [
            initializer(graph, f"clip_{index}_{end}", np.array(max(ends.min, code), place.zero_point.dtype))
            for end, code in (("low", low), ("high", high))
        ]
        inside = ir.node("Clip", [place.quantize.outputs[0], *bounds], name=f"{maker.name}/codes")
        inside.outputs[0].type = place.quantize.outputs[0].type
        place.quantize.append(inside)
        place.dequantize.replace_input_with(0, inside.outputs[0])
        if maker.op_type == "Clip" and len(place.source.consumers()) == 1:
            place.quantize.replace_input_with(0, given(maker, 0))
            graph.remove(maker, safe=True)


def _range(place: QdqPair, maker: ir.Node, symmetric: bool) -> tuple[int, int]:
    """The codes that the trained network has here."""
    ends, zero_point = np.iinfo(place.zero_point.dtype), int(place.zero_point)
    most = min(zero_point + SYMMETRIC_MOST, ends.max) if symmetric else ends.max
    if maker.op_type != "Clip":
        return ends.min, most
    low, high = (_code(maker, bound, float(place.scale), zero_point) for bound in (1, 2))
    return ends.min if low is None else low, most if high is None else min(high, most)


def _code(clip: ir.Node, bound: int, scale: float, zero_point: int) -> int | None:
    value = clip.inputs[bound] if len(clip.inputs) > bound else None
    if value is None or value.const_value is None:
        return None
    return int(np.rint(float(constant(value)) / scale)) + zero_point
