"""Files for OpenVINO: few Q/DQ pairs, and operators in the form that its kernels and fusions know."""

from collections import Counter
from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from edgekd.deploy.batchnorm import depthwise
from edgekd.deploy.plan import QdqPlan
from edgekd.deploy.qdq import QdqPair, QuantizedWeight, constant, initializer, required
from edgekd.deploy.writer import Writer
from edgekd.runtime import Profile
from edgekd.runtimes.openvino.plan import make_plan
from edgekd.runtimes.openvino.products import flatten_products

STEPS = ("QuantizeLinear", "DequantizeLinear")


class OpenVinoWriter(Writer):
    """The writer of OpenVINO."""

    shares_constants = False
    bypasses = False

    def plan(
        self,
        graph: ir.Graph,
        pairs: Collection[QdqPair],
        weights: Collection[QuantizedWeight],
        profile: Profile,
        keep_float: Collection[str],
    ) -> QdqPlan:
        """Decide which nodes compute in int8 and which Q/DQ pairs they need."""
        return make_plan(graph, pairs, weights, profile, keep_float)

    def rewrite(self, graph: ir.Graph, plan: QdqPlan, profile: Profile) -> Collection[ir.Node]:
        """Rewrite hard-sigmoids, BatchNorms and products, and give every Q/DQ step constants of its own."""
        for node in list(graph):
            if node.op_type == "HardSigmoid":
                _hard_sigmoid(graph, node)
            elif node.op_type == "BatchNormalization" and node in plan.int8:
                _depthwise(graph, node)
        flatten_products(graph, plan)
        _separate(graph)
        return ()


def _hard_sigmoid(graph: ir.Graph, node: ir.Node) -> None:
    """Replace a hard-sigmoid, which OpenVINO has no fast kernel for, by the clip of a sum that it fuses.

    OpenVINO takes clip(x + 3, 0, 6) / 6 for one; another slope is left as it is.
    """
    alpha, beta = node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)
    if not np.isclose([alpha, beta], [1 / 6, 0.5], atol=1e-6).all():
        return
    three, low, high, sixth = (
        initializer(graph, f"{node.name}/{name}", np.array(value, np.float32))
        for name, value in (("three", 3), ("low", 0), ("high", 6), ("sixth", 1 / 6))
    )
    total = ir.node("Add", [node.inputs[0], three], name=f"{node.name}/Add")
    inside = ir.node("Clip", [total.outputs[0], low, high], name=f"{node.name}/Clip")
    result = ir.node("Mul", [inside.outputs[0], sixth], name=f"{node.name}/Mul")
    node.prepend([total, inside, result])
    _replace(graph, node, result.outputs[0])


def _depthwise(graph: ir.Graph, node: ir.Node) -> None:
    """Replace a BatchNorm: between Q/DQ pairs behind a concatenation OpenVINO 2026.4 ends in a segmentation fault."""
    weight, convolution = depthwise(node, lambda array: initializer(graph, f"{node.name}/constant", array))
    node.append([weight, convolution])
    _replace(graph, node, convolution.outputs[0])


def _replace(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    value.type, value.shape = node.outputs[0].type, node.outputs[0].shape
    node.outputs[0].replace_all_uses_with(value, replace_graph_outputs=True)
    graph.remove(node, safe=True)


def _separate(graph: ir.Graph) -> None:
    """Give each Q/DQ step its own scale and zero point.

    Where steps share them OpenVINO 2026.4 takes some pairs of a ConvNeXt apart, and computes the layers in float.
    """
    seen: Counter[ir.Value] = Counter()
    for node in graph:
        if node.op_type not in STEPS:
            continue
        for index in (1, 2):
            value = required(node, index)
            if seen[value]:
                copy = initializer(graph, f"{value.name}_{seen[value]}", constant(value))
                node.replace_input_with(index, copy)
            seen[value] += 1


WRITER = OpenVinoWriter()
