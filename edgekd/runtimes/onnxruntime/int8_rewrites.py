"""Rewrites of gates (as in SE blocks), BatchNorm and global pooling into operators with int8 kernels in ONNX Runtime.

A sum with 3, quantised to 8 bits over 0..6, is clamped to 0..6 by the quantisation alone. Dequantising the same codes
with a sixth of the scale divides by six. So hard-sigmoid is one 8-bit sum, hard-swish (Howard et al. 2019, section 5.2)
that sum and a product, and neither leaves int8. A gate in steps of 1/255 adds an error of 0.2 % of its range.
"""

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from edgekd.deploy.batchnorm import depthwise
from edgekd.deploy.qdq import QdqPair, initializer, required
from edgekd.runtime import Profile

STEPS = 255


class Int8Rewriter:
    """Rewrites the gates, BatchNorms and global poolings of ``graph`` that compute in int8."""

    def __init__(self, graph: ir.Graph, pairs: Collection[QdqPair], profile: Profile):
        self.graph, self.by_source = graph, {pair.source: pair for pair in pairs}
        assert profile.activation_type is not None
        self.zero = np.array(np.iinfo(np.dtype(profile.activation_type)).min, profile.activation_type)
        self.count = 0

    def rewrite(self, int8: Collection[ir.Node]) -> list[ir.Node]:
        """Rewrite the nodes among ``int8``, in place, and return the QuantizeLinear nodes that were added."""
        added: list[ir.Node] = []
        for node in [node for node in self.graph if node in int8]:
            if node.op_type == "BatchNormalization":
                self._normalisation(node)
            elif node.op_type == "HardSwish":
                added.append(self._hard_swish(node))
            elif node.op_type == "HardSigmoid":
                added.append(self._hard_sigmoid(node))
            elif node.op_type == "Sigmoid" and node.outputs[0] not in self.by_source:
                added.append(self._round(node, node.outputs[0], 1 / STEPS))
            elif node.op_type == "ReduceMean":
                added += self._global_pool(node)
        return added

    def _hard_swish(self, node: ir.Node) -> ir.Node:
        x = required(node, 0)
        gate, step = self._gate(node, x)
        product = ir.node("Mul", [x, gate], name=f"{node.name}/Mul")
        node.append(product)
        self._replace(node, product.outputs[0])
        return step

    def _hard_sigmoid(self, node: ir.Node) -> ir.Node:
        gate, step = self._gate(node, required(node, 0))
        pair = self.by_source.get(node.outputs[0])
        if pair is not None:  # the fixed range replaces the trained one
            pair.result.replace_all_uses_with(gate)
            self.graph.remove([pair.dequantize, pair.quantize], safe=True)
        else:
            node.outputs[0].replace_all_uses_with(gate)
        self.graph.remove(node, safe=True)
        return step

    def _gate(self, node: ir.Node, x: ir.Value) -> tuple[ir.Value, ir.Node]:
        """Insert ``clip(x + 3, 0, 6) / 6`` before ``node``; return it, and the QuantizeLinear that clips."""
        three = self._dequantize(self._initializer(self.zero + self.zero.dtype.type(1)), 3.0, f"{node.name}/three")
        total = ir.node("Add", [x, three.outputs[0]], name=f"{node.name}/Add")
        step = self._quantize(total.outputs[0], 6 / STEPS, f"{node.name}/Clip")
        back = self._dequantize(step.outputs[0], 1 / STEPS, f"{node.name}/sixth")
        node.prepend([three, total, step, back])
        return back.outputs[0], step

    def _round(self, node: ir.Node, value: ir.Value, scale: float) -> ir.Node:
        step = self._quantize(value, scale, f"{node.name}/QuantizeLinear")
        back = self._dequantize(step.outputs[0], scale, f"{node.name}/DequantizeLinear")
        value.replace_all_uses_with(back.outputs[0])
        step.replace_input_with(0, value)
        node.append([step, back])
        return step

    def _normalisation(self, node: ir.Node) -> None:
        weight, convolution = depthwise(node, self._initializer)
        node.append([weight, convolution])
        self._replace(node, convolution.outputs[0])

    def _global_pool(self, node: ir.Node) -> list[ir.Node]:
        """Replace a mean over an image by a pooling with an int8 kernel, and flatten the same codes."""
        pool = ir.node("GlobalAveragePool", [node.inputs[0]], name=f"{node.name}/GlobalAveragePool")
        node.append(pool)
        if node.attributes.get_int("keepdims", 1):
            self._replace(node, pool.outputs[0])
            return []
        pair = self.by_source[node.outputs[0]]
        flat = ir.node("Flatten", [pool.outputs[0]], {"axis": 1}, name=f"{node.name}/Flatten")
        pool.append(flat)
        self._replace(node, flat.outputs[0])
        step = ir.node("QuantizeLinear", [pool.outputs[0], *pair.quantize.inputs[1:]], name=f"{pool.name}/Q")
        back = ir.node("DequantizeLinear", [step.outputs[0], *pair.quantize.inputs[1:]], name=f"{pool.name}/DQ")
        pool.append([step, back])
        flat.replace_input_with(0, back.outputs[0])
        return [step]

    def _replace(self, node: ir.Node, value: ir.Value) -> None:
        node.outputs[0].replace_all_uses_with(value)
        self.graph.remove(node, safe=True)

    def _quantize(self, value: ir.Value, scale: float, name: str) -> ir.Node:
        return ir.node("QuantizeLinear", [value, *self._parameters(scale)], name=name)

    def _dequantize(self, value: ir.Value, scale: float, name: str) -> ir.Node:
        return ir.node("DequantizeLinear", [value, *self._parameters(scale)], name=name)

    def _parameters(self, scale: float) -> list[ir.Value]:
        return [self._initializer(np.array(scale, np.float32)), self._initializer(self.zero)]

    def _initializer(self, array: np.ndarray) -> ir.Value:
        self.count += 1
        return initializer(self.graph, f"gate_{self.count}", np.asarray(array))
