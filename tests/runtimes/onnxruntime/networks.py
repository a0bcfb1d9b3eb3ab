"""Small ONNX files made by hand, whose multiply-accumulates and bytes can be counted on paper."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

random = np.random.default_rng(0)


def weight(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)


def save(path: Path, nodes: list, weights: list, inputs: dict, output: str = "y") -> Path:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    graph = helper.make_graph(
        nodes, "small", ends, [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)], weights
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def residual(path: Path) -> Path:
    """Two convolutions with a residual around the second, a depthwise one, a transposed one, and a product."""
    node, pads = helper.make_node, {"pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["x", "stem.weight", "stem.bias"], ["a"], "node_1", **pads),
        node("Relu", ["a"], ["b"], "node_2"),
        node("Conv", ["b", "block.conv.weight", "block.conv.bias"], ["c"], "node_3", **pads),
        node("Add", ["c", "b"], ["d"], "node_4"),
        node("Relu", ["d"], ["e"], "node_5"),
        node("Conv", ["e", "depth.weight"], ["f"], "node_6", group=20, **pads),
        node("ConvTranspose", ["f", "up.weight"], ["g"], "node_7", strides=[2, 2], group=2),
        node("GlobalAveragePool", ["g"], ["h"], "node_8"),
        node("Flatten", ["h"], ["i"], "node_9"),
        node("Gemm", ["i", "head.weight", "head.bias"], ["y"], "node_10", transB=1),
    ]
    weights = [
        *(weight("stem.weight", 20, 3, 3, 3), weight("stem.bias", 20)),
        *(weight("block.conv.weight", 20, 20, 3, 3), weight("block.conv.bias", 20)),
        *(weight("depth.weight", 20, 1, 3, 3), weight("up.weight", 20, 3, 2, 2)),
        *(weight("head.weight", 5, 6), weight("head.bias", 5)),
    ]
    return save(path, nodes, weights, {"x": ["batch", 3, 8, 8]})


# Output pixels times weights; of the transposed one input pixels times weights.
RESIDUAL_MACS = {
    "stem": 64 * 20 * 3 * 9,
    "block.conv": 64 * 20 * 20 * 9,
    "depth": 64 * 20 * 9,
    "up": 64 * 20 * 3 * 4,
    "head": 5 * 6,
}


def quantised(path: Path) -> Path:
    """One 3x3 convolution of 8 to 16 channels and a ReLU, with QuantizeLinear and DequantizeLinear around."""
    stored = numpy_helper.from_array(random.integers(-64, 64, (16, 8, 3, 3)).astype(np.int8), "packed")
    scale = numpy_helper.from_array(np.float32(0.05), "scale")
    zero, weight_zero = numpy_helper.from_array(np.uint8(0), "zero"), numpy_helper.from_array(np.int8(0), "wzero")
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["xq"], "quantize"),
        node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"], "dequantize"),
        node("DequantizeLinear", ["packed", "scale", "wzero"], ["wd"], "dequantize_weight"),
        node("Conv", ["xd", "wd", "features.conv.bias"], ["c"], "node_conv2d", pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"], "node_relu"),
        node("QuantizeLinear", ["r", "scale", "zero"], ["rq"], "quantize_1"),
        node("DequantizeLinear", ["rq", "scale", "zero"], ["y"], "dequantize_1"),
    ]
    return save(path, nodes, [stored, scale, zero, weight_zero, weight("features.conv.bias", 16)], {"x": [1, 8, 8, 8]})
