"""The same 8 bits as each runtime wants them: zero points that let it compute without leaving int8."""

import numpy as np
import onnx_ir as ir

from edgekd.export.deploy.places import QdqPair, constant, given
from edgekd.export.profile import Profile

NONNEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softmax")
KEEPING = (
    *("MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"),
    *("Flatten", "Reshape", "Transpose", "Squeeze", "Split"),
)
COMBINING = ("Add", "Mul", "Concat")


def zero_point_for(place: QdqPair, profile: Profile) -> np.ndarray:
    """The zero point of the file, for the trained scale: the codes move, what they stand for does not.

    ONNX Runtime takes a ReLU into the convolution before it only where zero is the smallest code. So what is never
    negative gets that code; its values above the trained range are kept, where int8 would cut them off.
    """
    trained = place.zero_point
    dtype = np.dtype(profile.activation_type)
    if profile.activations == "symmetric":
        return trained
    if trained.dtype == np.uint8:
        return (trained.astype(np.int16) + np.iinfo(dtype).min).astype(dtype)
    smallest = np.iinfo(dtype).min
    return np.array(smallest if is_nonnegative(place.source) else smallest + 128, dtype)


def is_nonnegative(value: ir.Value) -> bool:
    """Whether no element can be below zero, whatever the network's input."""
    node = value.producer()
    if node is None:
        return False
    if node.op_type in ("DequantizeLinear", "QuantizeLinear", *KEEPING):
        return is_nonnegative(given(node, 0))
    if node.op_type in COMBINING:
        return all(each is not None and is_nonnegative(each) for each in node.inputs)
    if node.op_type == "Clip":
        low = node.inputs[1] if len(node.inputs) > 1 else None
        return low is not None and low.const_value is not None and float(constant(low)) >= 0
    return node.op_type in NONNEGATIVE
