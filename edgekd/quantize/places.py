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
from torch import Tensor
from torch.fx import GraphModule, Node

from edgekd.errors import ExportError
from edgekd.export import to_onnx
from edgekd.export.deploy.places import WEIGHTED, constant, given, initializer, layer_of
from edgekd.export.onnx_file import OPSET
from edgekd.preprocess import Preprocess
from edgekd.quantize.fake_quant import FakeQuantize, Weighted, fake_quant_of, weighted

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
        if module.is_per_channel or not _is_on(module):
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
        number = _number(node, len(places))
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


def _number(node: ir.Node, places: int) -> int | None:
    factor = ir.convenience.get_const_tensor(given(node, 1))
    if factor is None or factor.size != 1:
        return None
    number = float(factor.numpy().reshape(())) - MARK
    return int(number) if 0 <= number < places and number.is_integer() else None


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
    layers = [layer for layer in weighted(trained) if layer.weight_fake_quant and _is_on(layer.weight_fake_quant)]
    by_name: dict[str, list[Weighted]] = {}
    for layer in layers:
        by_name.setdefault(layer.weight_name, []).append(layer)
    by_path = {layer.layer: layer for layer in layers}
    done = set()
    for node in [node for node in graph if node.op_type in WEIGHTED]:
        parameter = given(node, 1)
        turned = parameter.producer()
        if turned is not None and turned.op_type == "Transpose":
            node, parameter = turned, given(turned, 0)
        # Layers that share a weight come in the same order in both graphs.
        same = by_name.get(str(parameter.name), [])
        found = (same.pop(0) if len(same) > 1 else same[0]) if same else by_path.get(layer_of(node))
        if found is not None and parameter.is_initializer():
            _quantise(graph, node, parameter, found, trained.get_parameter(found.weight_name))
            done.add(found.weight_name)
    lost = [layer.layer for layer in layers if layer.weight_name not in done]
    if lost:
        raise ExportError(
            f"the weight of {lost[0]} is quantised and did not come through PyTorch's exporter; "
            f"leave it in float (keep_float={lost!r}), and report it with the network"
        )


def _is_on(module: FakeQuantize) -> bool:
    return bool(module.fake_quant_enabled[0])


def _quantise(graph: ir.Graph, reader: ir.Node, parameter: ir.Value, layer: Weighted, weight: Tensor) -> None:
    module, name = layer.weight_fake_quant, parameter.name
    assert module is not None
    values = constant(parameter)
    # The exporter turns the weight of a linear layer on tokens by itself, and calls it by another name.
    turned = values.ndim == 2 and not np.array_equal(values, weight.detach().cpu().numpy())
    axis = {"axis": values.ndim - 1 - module.ch_axis if turned else module.ch_axis}
    scale = module.scale.detach().cpu().numpy().astype(np.float32)
    parameters = [
        initializer(graph, f"{name}_scale_of", scale),
        initializer(graph, f"{name}_zero_of", np.zeros(len(scale), np.int8)),
    ]
    bounds = [
        initializer(graph, f"{name}_{end}", np.array(code, np.int8))
        for end, code in (("lowest", module.quant_min), ("highest", module.quant_max))
    ]
    step = ir.node("QuantizeLinear", [parameter, *parameters], axis, name=f"{name}/QuantizeLinear")
    clip = ir.node("Clip", [step.outputs[0], *bounds], name=f"{name}/Clip")
    back = ir.node("DequantizeLinear", [clip.outputs[0], *parameters], axis, name=f"{name}/DequantizeLinear")
    reader.prepend([step, clip, back])
    for index, value in enumerate(reader.inputs):
        if value is parameter:
            reader.replace_input_with(index, back.outputs[0])
