"""A fake-quantised graph as ONNX, with a QuantizeLinear and a DequantizeLinear at every trained place.

PyTorch's exporter takes a fortieth of a second for every node that it traces, and quantisation steps are most of the
nodes. So each place goes through it as one product with a number that nothing else has, and becomes steps after it.
"""

import copy
from collections.abc import Iterable

import numpy as np
import onnx_ir as ir
import torch
from onnx import ModelProto
from onnx_ir.passes.common import RemoveUnusedNodesPass
from torch.fx import GraphModule, Node

from edgekd.errors import ExportError
from edgekd.export import to_onnx
from edgekd.export.deploy.gates import initializer
from edgekd.export.deploy.places import WEIGHTED, constant, given
from edgekd.export.onnx_file import OPSET
from edgekd.preprocess import Preprocess
from edgekd.quantize.fake_quant import FakeQuantize, fake_quant_of, weighted

# Far from any number that a network would multiply by, and exact in float32 with the place's number added.
MARK = 2.0**22


def to_places(
    graph: GraphModule, preprocess: Preprocess, classes: Iterable[str] = (), opset: int = OPSET
) -> ModelProto:
    """``graph`` with steps where it is quantised; a copy, as :func:`edgekd.export.deploy.deploy` takes it.

    A place whose fake-quantisation is disabled is float.

    Raises:
        ExportError: the graph cannot be exported.
    """
    marked, places = _mark(graph)
    model = ir.from_proto(to_onnx(marked, preprocess, classes, opset))
    found = _unmark(model.graph, places)
    if found != len(places):
        raise ExportError(
            f"{len(places)} activations are quantised and {found} came through PyTorch's exporter; "
            "please report it with the network"
        )
    _quantise_weights(model.graph, graph)
    RemoveUnusedNodesPass()(model)  # the marks' numbers
    return ir.to_proto(model)


def _mark(graph: GraphModule) -> tuple[GraphModule, list[FakeQuantize]]:
    """A float copy with a product at each place of an activation, and the places in the products' order."""
    graph = copy.deepcopy(graph)
    places: list[FakeQuantize] = []
    for node in list(graph.graph.nodes):
        module = fake_quant_of(graph, node)
        if module is None:
            continue
        inside = node.args[0]
        assert isinstance(inside, Node)
        if module.is_per_channel or not module.fake_quant_enabled[0]:
            node.replace_all_uses_with(inside)
        else:
            with graph.graph.inserting_before(node):
                mark = graph.graph.call_function(torch.ops.aten.mul.Tensor, (inside, MARK + len(places)))
            mark.meta = dict(node.meta)
            node.replace_all_uses_with(mark)
            places.append(module)
        graph.graph.erase_node(node)
    graph.delete_all_unused_submodules()
    graph.recompile()
    return graph, places


def _unmark(graph: ir.Graph, places: list[FakeQuantize]) -> int:
    found = 0
    parameters: dict[int, list[ir.Value]] = {}
    for node in [node for node in graph if node.op_type == "Mul"]:
        number = _number(node)
        if number is None:
            continue
        module = places[number]
        if id(module) not in parameters:
            scale, zero_point = module.calculate_qparams()
            dtype = np.int8 if module.dtype == torch.int8 else np.uint8
            parameters[id(module)] = [
                initializer(graph, f"place_{number}_scale", np.array(scale.item(), np.float32)),
                initializer(graph, f"place_{number}_zero_point", np.array(zero_point.item(), dtype)),
            ]
        _steps(graph, node, parameters[id(module)])
        found += 1
    return found


def _number(node: ir.Node) -> int | None:
    factor = ir.convenience.get_const_tensor(given(node, 1))
    if factor is None or factor.size != 1:
        return None
    number = float(factor.numpy().reshape(())) - MARK
    return int(number) if 0 <= number < MARK else None


def _steps(graph: ir.Graph, node: ir.Node, parameters: list[ir.Value]) -> None:
    x, name = given(node, 0), node.name
    step = ir.node("QuantizeLinear", [x, *parameters], name=f"{name}/QuantizeLinear")
    back = ir.node("DequantizeLinear", [step.outputs[0], *parameters], name=f"{name}/DequantizeLinear")
    result = back.outputs[0]
    result.type, result.shape = ir.TensorType(ir.DataType.FLOAT), x.shape
    codes = step.outputs[0]
    codes.type, codes.shape = ir.TensorType(ir.DataType.from_numpy(constant(parameters[1]).dtype)), x.shape
    node.append([step, back])
    node.outputs[0].replace_all_uses_with(result, replace_graph_outputs=True)
    graph.remove(node, safe=True)


def _quantise_weights(graph: ir.Graph, trained: GraphModule) -> None:
    layers = {layer.weight_name: layer for layer in weighted(trained)}
    for node in [node for node in graph if node.op_type in WEIGHTED]:
        parameter = given(node, 1)
        turned = parameter.producer()
        if turned is not None and turned.op_type == "Transpose":
            parameter = given(turned, 0)
        layer = layers.get(str(parameter.name))
        module = layer.weight_fake_quant if layer else None
        if module is None or not module.fake_quant_enabled[0] or not parameter.is_initializer():
            continue
        _quantise(graph, turned if turned is not None else node, parameter, module)


def _quantise(graph: ir.Graph, reader: ir.Node, parameter: ir.Value, module: FakeQuantize) -> None:
    scale = module.scale.detach().cpu().numpy().astype(np.float32)
    name = parameter.name
    parameters = [
        initializer(graph, f"{name}_scale_of", scale),
        initializer(graph, f"{name}_zero_of", np.zeros(len(scale), np.int8)),
    ]
    bounds = [
        initializer(graph, f"{name}_{end}", np.array(code, np.int8))
        for end, code in (("lowest", module.quant_min), ("highest", module.quant_max))
    ]
    axis = {"axis": module.ch_axis}
    step = ir.node("QuantizeLinear", [parameter, *parameters], axis, name=f"{name}/QuantizeLinear")
    clip = ir.node("Clip", [step.outputs[0], *bounds], name=f"{name}/Clip")
    back = ir.node("DequantizeLinear", [clip.outputs[0], *parameters], axis, name=f"{name}/DequantizeLinear")
    reader.prepend([step, clip, back])
    for index, value in enumerate(reader.inputs):
        if value is parameter:
            reader.replace_input_with(index, back.outputs[0])
