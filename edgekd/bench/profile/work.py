"""Work of a step of an ONNX graph: multiply-accumulates and bytes moved."""

from math import prod
from typing import TYPE_CHECKING

from edgekd.bench.profile.network import Network, TensorGraph
from edgekd.bench.profile.trace import KernelRun, family, is_weighted

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

PRECISIONS = {"float": "float32", "double": "float64", "uint8": "int8"}
VIEWS = {"Shape", "Size", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"}
PARTS = {"Gather", "Slice", "GatherElements"}  # read what they write, not all that they are given


def precision_of(step: KernelRun) -> str:
    """Return the precision of the arithmetic; quantising is arithmetic on floats on either side of it."""
    if step.op in ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"):
        return "float32"
    dtype = step.inputs[0][0] if step.inputs else step.outputs[0][0] if step.outputs else "float"
    if step.op == "DynamicQuantizeMatMul":
        return "int8"
    return PRECISIONS.get(dtype, dtype)


def macs_of(step: KernelRun, node: "NodeProto | None", origin: "NodeProto | None", network: Network) -> int:
    """Return the layer's own multiply-accumulates: its weight as the file stores it, without the runtime's padding."""
    if not step.inputs or not step.outputs or (origin is not None and not is_weighted(origin.op_type)):
        return 0
    if family(step.op) == "Conv":
        weight = network.weight_shape(origin) if origin is not None else None
        return convolution_macs(step, node, weight or second_shape(step))
    if family(step.op) == "MatMul":
        return prod(step.outputs[0][1]) * depth(step, node)
    return 0


def convolution_macs(step: KernelRun, node: "NodeProto | None", weight: tuple[int, ...]) -> int:
    """Return a convolution's multiply-accumulates, or 0 if the weight is unknown.

    Each output pixel meets every weight once; in a transposed convolution each input pixel does.
    """
    if len(weight) < 3:
        return 0
    shape = (step.inputs if "Transpose" in step.op else step.outputs)[0][1]
    last = step.op.startswith("Nhwc") or attribute(node, "channels_last")
    pixels = shape[1:-1] if last else shape[2:]
    return shape[0] * prod(pixels) * prod(weight)


def depth(step: KernelRun, node: "NodeProto | None") -> int:
    """Return the length of the sums in a matrix product."""
    shape = step.inputs[0][1]
    turned = len(shape) > 1 and attribute(node, "transA")
    return shape[-2] if turned else shape[-1]


def second_shape(step: KernelRun) -> tuple[int, ...]:
    return step.inputs[1][1] if len(step.inputs) > 1 else ()


def attribute(node: "NodeProto | None", name: str) -> int:
    return next((each.i for each in node.attribute if each.name == name), 0) if node is not None else 0


def weight_bytes_of(step: KernelRun, node: "NodeProto | None", runtime: TensorGraph) -> int:
    """Return the weight's bytes from the graph: the profile leaves out weights that were packed at loading."""
    if node is None or step.op in VIEWS or step.op in PARTS:
        return 0
    return sum(nbytes(runtime.constants[name]) for name in set(node.input) if name in runtime.constants)


def activation_bytes_of(step: KernelRun) -> int:
    if step.op in VIEWS:
        return 0
    return 2 * step.output_bytes if step.op in PARTS else step.activation_bytes + step.output_bytes


def nbytes(tensor: "TensorProto") -> int:
    import onnx

    return prod(tensor.dims) * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
