"""Zero points of activations in a runtime's file, chosen so that the runtime can fuse operators in int8."""

import numpy as np
import onnx_ir as ir

from edgekd.deploy.qdq import QdqPair, constant, required
from edgekd.runtime import Profile

NONNEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softmax")
KEEPING = (
    *("MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"),
    *("Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Split", "Slice", "Gather", "Expand"),
    *("Resize", "Pad", "Tile", "DepthToSpace"),
)
COMBINING = ("Add", "Mul", "Concat")


def zero_point_for(pair: QdqPair, profile: Profile) -> np.ndarray:
    """Return the file's zero point for the trained scale; codes are shifted, and the values they stand for stay.

    ONNX Runtime fuses a ReLU with the convolution before it only if 0 has the smallest code. So nonnegative
    activations get that zero point. Values above the trained range then have codes too; ``fold_clips`` clips these.
    """
    trained = pair.zero_point
    if profile.activations == "symmetric" or profile.activation_type is None:
        return trained
    dtype = np.dtype(profile.activation_type)
    if trained.dtype == np.uint8:
        return (trained.astype(np.int16) + np.iinfo(dtype).min).astype(dtype)
    smallest = np.iinfo(dtype).min
    return np.array(smallest if is_nonnegative(pair.source) else smallest + 128, dtype)


def is_nonnegative(value: ir.Value) -> bool:
    """Tell whether no element can be below zero, whatever the network's input."""
    node = value.producer()
    if node is None:
        return False
    if node.op_type in ("DequantizeLinear", "QuantizeLinear", *KEEPING):
        return is_nonnegative(required(node, 0))
    if node.op_type in COMBINING:
        return all(each is not None and is_nonnegative(each) for each in node.inputs)
    if node.op_type == "Clip":
        low = node.inputs[1] if len(node.inputs) > 1 else None
        return low is not None and low.const_value is not None and float(constant(low)) >= 0
    return node.op_type in NONNEGATIVE
