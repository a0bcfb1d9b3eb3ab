"""An ONNX graph read for its quantisation: producers and readers of each tensor, and the constants behind it.

Files of different tools differ in form only. A weight may be stored in int8 behind a DequantizeLinear, or in float
behind both; parameters may be initialisers or Constant nodes; Identity may stand anywhere. This view hides all that.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ModelError
from edgekd.nearest import nearest
from edgekd.onnx_graph import OnnxGraph
from edgekd.tasks.signature import Signature

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
SEEN_THROUGH = {"Identity", "Dropout"}


@dataclass(frozen=True)
class Quantiser:
    """A QuantizeLinear or DequantizeLinear; ``scale`` is None if it is computed, ``axis`` if it is absent."""

    node: "NodeProto"
    scale: NDArray[Any] | None
    zero_point: NDArray[Any] | None
    dtype: str
    axis: int | None

    @property
    def per_channel(self) -> bool:
        return self.scale is not None and self.scale.size > 1

    @property
    def zero(self) -> int:
        """Return the zero point of a per-tensor quantiser; 0 if the file gives none."""
        return int(self.zero_point.flat[0]) if self.zero_point is not None and self.zero_point.size else 0

    @property
    def parameters(self) -> tuple[object, ...]:
        """Return scale, zero point and type, to be compared."""
        scale = None if self.scale is None else tuple(np.ravel(self.scale).tolist())
        return scale, self.zero, self.dtype


class LintGraph(OnnxGraph):
    """A graph in which Identity and Dropout are seen through.

    ``sizes`` are those of open dimensions that the file names; of others those of its signature's examples are taken.
    """

    def __init__(self, model: "ModelProto", sizes: Mapping[str, int] | None = None):
        super().__init__(model.graph)
        self.model = model
        self.outputs = {value.name for value in model.graph.output}
        self.opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
        self.sizes = _sizes(model, sizes or {})
        self._arrays: dict[str, NDArray[Any]] = {}
        self._quantisers: dict[str, Quantiser] = {}

    def readers(self, name: str) -> list["NodeProto"]:
        """Return the nodes that read a tensor, once for each time they do."""
        found = []
        for node in self.direct_readers.get(name, ()):
            found += self.readers(node.output[0]) if node.op_type in SEEN_THROUGH else [node]
        return found

    def is_output(self, name: str) -> bool:
        """Return whether the tensor is an output of the network, also through an Identity."""
        onward = (node.output[0] for node in self.direct_readers.get(name, ()) if node.op_type in SEEN_THROUGH)
        return name in self.outputs or any(self.is_output(each) for each in onward)

    def root(self, name: str) -> str:
        """Return the name under which the tensor was made."""
        node = self.producer.get(name)
        while node is not None and node.op_type in SEEN_THROUGH:
            name = node.input[0]
            node = self.producer.get(name)
        return name

    def uses(self, name: str) -> int:
        """Return how often a tensor is read, counting an output of the network as one read."""
        root = self.root(name)
        return len(self.readers(root)) + self.is_output(root)

    def source(self, name: str) -> "NodeProto | None":
        """Return the node that makes a tensor, or None for an input of the network or a constant."""
        node = self.producer.get(self.root(name))
        return node if node is None or node.op_type != "Constant" else None

    def stored(self, name: str) -> "TensorProto | None":
        """Return the constant behind ``name`` without reading its values."""
        return self.constant_behind(name, SEEN_THROUGH)

    def constant(self, name: str) -> NDArray[Any] | None:
        from onnx import numpy_helper

        tensor = self.stored(name)
        if tensor is None:
            return None
        if name not in self._arrays:
            self._arrays[name] = numpy_helper.to_array(tensor)
        return self._arrays[name]

    def quantiser(self, node: "NodeProto") -> Quantiser:
        key = node.output[0]
        if key not in self._quantisers:
            scale = self.constant(node.input[1])
            zero = self.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
            dtype = zero.dtype.name if zero is not None else self._dtype_without_zero_point(node)
            self._quantisers[key] = Quantiser(node, scale, zero, dtype, attribute(node, "axis"))
        return self._quantisers[key]

    def _dtype_without_zero_point(self, node: "NodeProto") -> str:
        if node.op_type == QUANTIZE:
            return dtype_name(attribute(node, "output_dtype") or 0) or "uint8"
        stored, made = self.stored(node.input[0]), self.source(node.input[0])
        if stored is not None:
            return dtype_name(stored.data_type) or "uint8"
        if made is not None and made.op_type == QUANTIZE:
            return self.quantiser(made).dtype
        typed = (value for value in self.model.graph.input if value.name == node.input[0])
        return next((dtype_name(value.type.tensor_type.elem_type) for value in typed), None) or "uint8"

    def dequantiser(self, name: str, through: Iterable[str] = ()) -> Quantiser | None:
        """Return the DequantizeLinear that makes a tensor, also past ``through``, operators that only move values."""
        node = self.source(name)
        while node is not None and node.op_type in through:
            node = self.source(node.input[0])
        return self.quantiser(node) if node is not None and node.op_type == DEQUANTIZE else None

    @cached_property
    def shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Return the shapes that ONNX can infer; an open dimension, which some tools write as -1 or 0, is None.

        Open dimensions of :attr:`sizes` have these, and so have dimensions that are computed from them.
        """
        import onnx

        model = self.model
        if self.sizes:
            model = onnx.ModelProto()
            model.CopyFrom(self.model)
            # What an exporter wrote of shapes inside names the open dimensions.
            del model.graph.value_info[:]
            for value in (*model.graph.input, *model.graph.output):
                for dim in value.type.tensor_type.shape.dim:
                    if dim.dim_param in self.sizes:
                        dim.dim_value = self.sizes[dim.dim_param]
        try:
            graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        except Exception:  # of a file too large or too strange for it: coverage then counts layers
            graph = model.graph
        found: dict[str, tuple[int | None, ...]] = {}
        for value in (*graph.input, *graph.value_info, *graph.output):
            if value.type.tensor_type.HasField("shape"):
                dims = value.type.tensor_type.shape.dim
                found[value.name] = tuple(dim.dim_value if dim.dim_value > 0 else None for dim in dims)
        return {**found, **{name: tuple(tensor.dims) for name, tensor in self.constants.items()}}


def _sizes(model: "ModelProto", given: Mapping[str, int]) -> dict[str, int]:
    dims = [value.type.tensor_type.shape.dim for value in model.graph.input]
    batches = {each[0].dim_param for each in dims if len(each)}
    names = dict.fromkeys(dim.dim_param for each in dims for dim in each[1:] if dim.dim_param not in ("", *batches))
    if unknown := next((name for name in given if name not in names), None):
        known = f"open are {', '.join(names)}" if names else "it has no named open dimension beyond its batch"
        raise ModelError(f"the size of {unknown!r} is given, which no input has; {known}{nearest(unknown, names)}")
    signature = Signature.in_metadata({entry.key: entry.value for entry in model.metadata_props})
    usual = {} if signature is None else {each.name: each.size for each in signature.open}
    return {name: size for name, size in (usual | dict(given)).items() if name in names}


def attribute(node: "NodeProto", name: str, default: Any = None) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


def dtype_name(elem_type: int) -> str | None:
    from onnx import helper

    return str(np.dtype(helper.tensor_dtype_to_np_dtype(elem_type)).name) if elem_type else None


def macs_of(node: "NodeProto", graph: LintGraph) -> int | None:
    """Return the multiply-accumulates of a weighted layer, or None if a shape is open.

    An open first dimension is the batch, of which one sample is counted.
    """
    into, out = sample(graph, node.input[0]), sample(graph, node.output[0])
    weight = graph.shapes.get(node.input[1])
    if into is None or out is None:
        return None
    if node.op_type in ("MatMul", "Gemm"):
        return prod(out) * (into[-2] if attribute(node, "transA", 0) else into[-1])
    if weight is None or None in weight:
        return None
    # Of a transposed convolution each input value meets every weight of its channel.
    values = into if node.op_type == "ConvTranspose" else out
    return prod(values) * prod(size or 0 for size in weight[1:])


def sample(graph: LintGraph, name: str) -> tuple[int, ...] | None:
    shape = graph.shapes.get(name)
    if not shape:
        return None
    known = (1 if shape[0] is None else shape[0], *shape[1:])
    return None if None in known else tuple(size for size in known if size is not None)
