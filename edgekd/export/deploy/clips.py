"""Clamps that a range does not make redundant, on the 8-bit codes instead of before them.

ONNX Runtime takes a Clip into the convolution only where its bounds are the ends of the codes. A symmetric range uses
half of uint8 for what is never negative, so a ReLU6 is not: the convolution would stay in float. On the codes it is one
pass over bytes, and cuts exactly where the trained range does.
"""

import numpy as np
import onnx_ir as ir

from edgekd.export.deploy.gates import initializer
from edgekd.export.deploy.places import constant, given
from edgekd.export.deploy.plan import Plan

SYMMETRIC_MOST = 127


def clip_codes(graph: ir.Graph, plan: Plan, symmetric: bool) -> None:
    """Moves such clamps behind their rounding, in place.

    Args:
        symmetric: the range was trained with codes from -128 to 127 around 0, whatever the file's type is.
    """
    for index, place in enumerate(plan.kept):
        clip = place.source.producer()
        if clip is None or clip.op_type != "Clip" or given(clip, 0).producer() not in plan.int8:
            continue
        scale, zero_point = float(place.scale), int(place.zero_point)
        ends = np.iinfo(place.zero_point.dtype)
        low, high = (_code(clip, bound, scale, zero_point) for bound in (1, 2))
        low = ends.min if low is None else max(low, ends.min)
        high = ends.max if high is None else high
        high = min(high, zero_point + SYMMETRIC_MOST if symmetric else ends.max)
        before = place.source
        if (low <= ends.min and high >= ends.max) or len(before.consumers()) > 1:
            continue  # redundant as it is, or needed by others
        bounds = [
            initializer(graph, f"clip_{index}_{end}", np.array(code, place.zero_point.dtype))
            for end, code in (("low", low), ("high", high))
        ]
        inside = ir.node("Clip", [place.quantize.outputs[0], *bounds], name=f"{clip.name}/codes")
        inside.outputs[0].type = place.quantize.outputs[0].type
        place.quantize.append(inside)
        place.dequantize.replace_input_with(0, inside.outputs[0])
        place.quantize.replace_input_with(0, given(clip, 0))
        graph.remove(clip, safe=True)


def _code(clip: ir.Node, bound: int, scale: float, zero_point: int) -> int | None:
    value = clip.inputs[bound] if len(clip.inputs) > bound else None
    if value is None or value.const_value is None:
        return None
    return int(np.rint(float(constant(value)) / scale)) + zero_point
