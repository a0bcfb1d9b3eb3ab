"""Float layers that ONNX Runtime would quantise by itself.

A convolution or product of float weights between a DequantizeLinear and a QuantizeLinear gets 8-bit weights from ONNX
Runtime 1.31, with one scale for the whole tensor and codes that saturate without VNNI: a layer that was left in float
for its accuracy would be worse off than before. A maximum over one activation is that activation, and ends the pattern;
ONNX Runtime removes an Identity, not this.
"""

import onnx_ir as ir

from edgekd.export.deploy.places import CLAMPS, WEIGHTED, given


def fence_off(graph: ir.Graph) -> None:
    """Puts a ``Max`` before each layer of float weights that stands between steps, in place."""
    for node in [node for node in graph if node.op_type in WEIGHTED]:
        if not _is_dequantised(node, 0) or _is_dequantised(node, 1) or not _is_rounded(node):
            continue
        fence = ir.node("Max", [node.inputs[0]], name=f"{node.name}/float")
        fence.outputs[0].type, fence.outputs[0].shape = given(node, 0).type, given(node, 0).shape
        node.prepend(fence)
        node.replace_input_with(0, fence.outputs[0])


def _is_dequantised(node: ir.Node, index: int) -> bool:
    maker = given(node, index).producer()
    return maker is not None and maker.op_type == "DequantizeLinear"


def _is_rounded(node: ir.Node) -> bool:
    readers = node.outputs[0].consumers()
    if len(readers) == 1 and readers[0].op_type in CLAMPS:
        readers = readers[0].outputs[0].consumers()
    return any(reader.op_type == "QuantizeLinear" for reader in readers)
