"""The bias of a last layer as 32-bit codes, without which ONNX Runtime computes the layer in float."""

import numpy as np
import onnx_ir as ir

from edgekd.export.deploy.places import constant, given, initializer


def encode_bias(graph: ir.Graph, layer: ir.Node) -> None:
    """Where a rounding follows, ONNX Runtime does this by itself; to a Gemm that gives float logits it does not."""
    readers = layer.outputs[0].consumers()
    if layer.op_type != "Gemm" or len(layer.inputs) < 3 or any(node.op_type == "QuantizeLinear" for node in readers):
        return
    bias, step, weight = given(layer, 2), given(layer, 0).producer(), given(layer, 1).producer()
    assert step is not None and weight is not None
    scale = (constant(step.inputs[1]) * constant(weight.inputs[1])).astype(np.float32)
    codes = np.rint(constant(bias).astype(np.float64) / scale)
    if np.abs(codes).max(initial=0) > np.iinfo(np.int32).max:
        return  # beside a bias this large its layer's products are nothing
    stored = initializer(graph, f"{bias.name}_int32", codes.astype(np.int32))
    parameters = [
        initializer(graph, f"{bias.name}_scale", scale),
        initializer(graph, f"{bias.name}_zero_point", np.zeros(len(scale), np.int32)),
    ]
    back = ir.node("DequantizeLinear", [stored, *parameters], {"axis": 0}, name=f"{layer.name}/bias")
    layer.prepend(back)
    layer.replace_input_with(2, back.outputs[0])
