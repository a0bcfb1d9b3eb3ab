"""Rewrites that make ONNX Runtime fuse what must run in int8, and not what must stay in float.

A convolution or matrix product with float weights between a DequantizeLinear and a QuantizeLinear gets 8-bit weights
from ONNX Runtime 1.31, with one scale for the tensor and codes that saturate without VNNI. A layer that was kept in
float for its accuracy would then be worse than before. The maximum of a single activation is that activation, and
breaks the pattern; ONNX Runtime removes an Identity, but not this.

A last Gemm that gives float logits runs in int8 only if its bias is stored as 32-bit codes. Where a QuantizeLinear
follows, ONNX Runtime encodes the bias itself.
"""

import numpy as np
import onnx_ir as ir

from edgekd.deploy.qdq import CLAMPS, WEIGHTED, constant, initializer, required


def add_fusion_barriers(graph: ir.Graph) -> None:
    """Insert a ``Max`` before each float layer between a DequantizeLinear and a QuantizeLinear, in place."""
    for node in [node for node in graph if node.op_type in WEIGHTED]:
        if not _is_dequantised(node, 0) or _is_dequantised(node, 1) or not _is_rounded(node):
            continue
        barrier = ir.node("Max", [node.inputs[0]], name=f"{node.name}/float")
        barrier.outputs[0].type, barrier.outputs[0].shape = required(node, 0).type, required(node, 0).shape
        node.prepend(barrier)
        node.replace_input_with(0, barrier.outputs[0])


def encode_bias(graph: ir.Graph, layer: ir.Node) -> None:
    """Store the bias of ``layer`` as 32-bit codes if it is a Gemm in int8 that gives float values, in place."""
    readers = layer.outputs[0].consumers()
    if layer.op_type != "Gemm" or len(layer.inputs) < 3 or any(node.op_type == "QuantizeLinear" for node in readers):
        return
    bias, step, weight = required(layer, 2), required(layer, 0).producer(), required(layer, 1).producer()
    assert step is not None and weight is not None
    scale = (constant(step.inputs[1]) * constant(weight.inputs[1])).astype(np.float32)
    codes = np.rint(constant(bias).astype(np.float64) / scale)
    if np.abs(codes).max(initial=0) > np.iinfo(np.int32).max:
        return  # the products of the layer are negligible against such a bias
    stored = initializer(graph, f"{bias.name}_int32", codes.astype(np.int32))
    parameters = [
        initializer(graph, f"{bias.name}_scale", scale),
        initializer(graph, f"{bias.name}_zero_point", np.zeros(len(scale), np.int32)),
    ]
    back = ir.node("DequantizeLinear", [stored, *parameters], {"axis": 0}, name=f"{layer.name}/bias")
    layer.prepend(back)
    layer.replace_input_with(2, back.outputs[0])


def _is_dequantised(node: ir.Node, index: int) -> bool:
    maker = required(node, index).producer()
    return maker is not None and maker.op_type == "DequantizeLinear"


def _is_rounded(node: ir.Node) -> bool:
    readers = node.outputs[0].consumers()
    if len(readers) == 1 and readers[0].op_type in CLAMPS:
        readers = readers[0].outputs[0].consumers()
    return any(reader.op_type == "QuantizeLinear" for reader in readers)
