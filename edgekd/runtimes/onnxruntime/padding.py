"""Padding of codes: ONNX Runtime 1.31 pads between a DequantizeLinear and a QuantizeLinear in float."""

import onnx_ir as ir

from edgekd.deploy.plan import QdqPlan
from edgekd.deploy.qdq import required

CONSTANT = "constant"


def pad_codes(graph: ir.Graph, plan: QdqPlan) -> None:
    """Let each ``Pad`` that computes in int8 pad the codes, by that of 0 where it pads by 0, in place.

    The pairs before and behind it have one scale and zero point.
    """
    pairs = [pair for pair in plan.kept if pair.quantize.graph is not None]
    by_result, by_source = {pair.result: pair for pair in pairs}, {pair.source: pair for pair in pairs}
    for node in [node for node in graph if node.op_type == "Pad" and node in plan.int8]:
        before, behind = by_result[required(node, 0)], by_source[node.outputs[0]]
        codes = required(before.dequantize, 0)
        inputs: list[ir.Value | None] = [codes, node.inputs[1], None, *node.inputs[3:]]
        if node.attributes.get_string("mode", CONSTANT) == CONSTANT:
            inputs[2] = before.dequantize.inputs[2]
        padded = ir.node("Pad", inputs, {"mode": node.attributes.get_string("mode", CONSTANT)}, name=node.name)
        padded.outputs[0].type, padded.outputs[0].shape = codes.type, node.outputs[0].shape
        node.append(padded)
        required(behind.dequantize, 0).replace_all_uses_with(padded.outputs[0])
        graph.remove([behind.quantize, node], safe=True)
