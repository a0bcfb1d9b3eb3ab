"""A BatchNorm that no convolution stands before, as a convolution with an int8 kernel."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgekd.deploy.qdq import constant
from edgekd.runtime import SMALLEST_SCALE

# Fits into seven bits, for processors that add pairs of products in 16.
LARGEST = 63


def depthwise(node: ir.Node, stored: Callable[[np.ndarray], ir.Value]) -> tuple[ir.Node, ir.Node]:
    """Return the depthwise 1x1 convolution of a BatchNorm, and its weight's DequantizeLinear before it.

    It also fuses with a following ReLU. With one weight for each scale quantisation is exact: the weight's code is the
    largest.

    Args:
        stored: adds an array to the graph as a constant.
    """
    gamma, beta, mean, variance = (constant(value).astype(np.float64) for value in node.inputs[1:5])
    factor = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    term = (beta - mean * factor).astype(np.float32)
    scale = np.maximum(np.abs(factor) / LARGEST, SMALLEST_SCALE).astype(np.float32)
    codes = np.rint(factor / scale).astype(np.int8).reshape(-1, 1, 1, 1)
    parameters = [stored(each) for each in (codes, scale, np.zeros(len(scale), np.int8))]
    weight = ir.node("DequantizeLinear", parameters, {"axis": 0}, name=f"{node.name}/weight")
    inputs = [node.inputs[0], weight.outputs[0], stored(term)]
    return weight, ir.node("Conv", inputs, {"group": len(scale), "kernel_shape": [1, 1]}, name=f"{node.name}/Conv")
