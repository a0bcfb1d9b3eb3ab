"""Nodes that decode outputs inside an ONNX file, with the operators of ONNX alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgekd.errors import ModelError

# Of the operators as tasks write them.
LEAST_OPSET = 13


class GraphNodes:
    """Adds nodes and constants to a copy of a model, whose names begin with that of its one new output.

    Args:
        what: is decoded, for messages, such as ``boxes``.

    Raises:
        ModelError: the file is of an opset below 13.
    """

    def __init__(self, model: ModelProto, output: str, what: str):
        if (opset := next((each.version for each in model.opset_import if not each.domain), 0)) < LEAST_OPSET:
            raise ModelError(
                f"{what} are decoded in files of opset {LEAST_OPSET} or above, not of {opset}: export it again"
            )
        self.model = ModelProto()
        self.model.CopyFrom(model)
        self.graph, self.output, self.what, self.count = self.model.graph, output, what, 0

    def add(self, operator: str, *inputs: str | np.ndarray, **attributes: Any) -> str:
        """Add a node of one output, and return that."""
        return self.several(operator, 1, *inputs, **attributes)[0]

    def several(self, operator: str, outputs: int, *inputs: str | np.ndarray, **attributes: Any) -> list[str]:
        """Add a node, and return its ``outputs``."""
        taken = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        given = [self._name(operator) for _ in range(outputs)]
        self.graph.node.append(helper.make_node(operator, taken, given, name=self._name(operator), **attributes))
        return given

    def constant(self, value: np.ndarray) -> str:
        """Add a constant, and return its name."""
        name = self._name("constant")
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def sizes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of one sample of the model's outputs by name.

        Raises:
            ModelError: one has another open size than the batch.
        """
        return {each.name: self._sizes(each) for each in self.graph.output}

    def ended(self, result: str, shape: tuple[int, ...]) -> ModelProto:
        """Return the model with ``result``, float32 of ``shape`` for each sample, as its one output."""
        self.graph.node.append(helper.make_node("Identity", [result], [self.output], name=f"{self.output}/Identity"))
        batch = self.graph.output[0].type.tensor_type.shape.dim[0]
        size = batch.dim_param or batch.dim_value or "batch"
        del self.graph.output[:]
        self.graph.output.append(helper.make_tensor_value_info(self.output, TensorProto.FLOAT, [size, *shape]))
        return self.model

    def _sizes(self, value: Any) -> tuple[int, ...]:
        sizes = tuple(each.dim_value for each in value.type.tensor_type.shape.dim[1:])
        if not sizes or not all(sizes):
            raise ModelError(
                f"output {value.name!r} has open sizes besides the batch, and a file that decodes {self.what} takes "
                "one size of image: export it for that"
            )
        return sizes

    def _name(self, kind: str) -> str:
        self.count += 1
        return f"{self.output}/{kind}_{self.count}"


def whole(*values: int) -> np.ndarray:
    """Return whole numbers as a constant of a graph."""
    return np.array(values, np.int64)


def real(*values: float) -> np.ndarray:
    """Return a number, or several, as a constant of a graph."""
    return np.array(values[0] if len(values) == 1 else values, np.float32)
