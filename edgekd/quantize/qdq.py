"""Export of a fake-quantised graph to ONNX with a Q/DQ pair at every fake-quant.

PyTorch's exporter takes a fortieth of a second for every node that it traces, and quantisation steps are most of the
nodes. So each fake-quant of an activation is exported as one product with a unique number, its marker, which is then
replaced by a Q/DQ pair.
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

from edgekd.deploy.names import name_values
from edgekd.deploy.qdq import WEIGHTED, constant, initializer, layer_of, required
from edgekd.errors import ExportError
from edgekd.export import to_onnx
from edgekd.export.onnx_file import OPSET
from edgekd.preprocess import Preprocess
from edgekd.quantize.fake_quant import FakeQuantize, WeightedLayer, fake_quant_of, tensor_of, weighted_layers
from edgekd.tasks.signature import Shape, Signature

# Far from any number that a network would multiply by, and exact in float32 with an index added.
MARKER = 2.0**22


def to_qdq(
    graph: GraphModule,
    preprocess: Preprocess | None,
    classes: Iterable[str] = (),
    opset: int = OPSET,
    inputs: Shape | Signature | None = None,
) -> ModelProto:
    """Export ``graph`` to ONNX with a Q/DQ pair at every enabled fake-quant, for :func:`edgekd.deploy.deploy`.

    The arguments are those of :func:`edgekd.export.export_onnx`.

    Raises:
        ExportError: the graph cannot be exported.
    """
    marked, modules = _mark(graph)
    model = ir.from_proto(to_onnx(marked, preprocess, classes, opset, inputs))
    names = [[str(value.name) for value in side] for side in (model.graph.inputs, model.graph.outputs)]
    found = _unmark(model.graph, modules)
    if found != len(modules):
        raise ExportError(
            f"{len(modules)} activations are quantised and {found} came through PyTorch's exporter; "
            "please report it with the network"
        )
    _quantise_weights(model.graph, graph)
    RemoveUnusedNodesPass()(model)  # the markers
    name_values(model.graph, *names)
    return ir.to_proto(model)


def _mark(graph: GraphModule) -> tuple[GraphModule, list[FakeQuantize]]:
    """Return a float copy with a product in place of each activation's fake-quant, and these in the markers' order."""
    graph = copy.deepcopy(graph)
    graph.graph.eliminate_dead_code()  # the exporter drops it too, and its markers
    modules: list[FakeQuantize] = []
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
                marker = graph.graph.call_function(torch.ops.aten.mul.Tensor, (inside, MARKER + len(modules)))
            marker.meta = dict(node.meta)
            node.replace_all_uses_with(marker)
            modules.append(module)
        graph.graph.erase_node(node)
    graph.delete_all_unused_submodules()
    graph.recompile()
    return graph, modules


def _unmark(graph: ir.Graph, modules: list[FakeQuantize]) -> int:
    found = 0
    parameters: dict[int, list[ir.Value]] = {}
    for node in [node for node in graph if node.op_type == "Mul"]:
        number = _number(node, len(modules))
        if number is None:
            continue
        module = modules[number]
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


def _number(node: ir.Node, count: int) -> int | None:
    factor = ir.convenience.get_const_tensor(required(node, 1))
    if factor is None or factor.size != 1:
        return None
    number = float(factor.numpy().reshape(())) - MARKER
    return int(number) if 0 <= number < count and number.is_integer() else None


def _steps(graph: ir.Graph, node: ir.Node, parameters: list[ir.Value]) -> None:
    x, name = required(node, 0), node.name
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
    modules = ((layer, layer.weight_fake_quant) for layer in weighted_layers(trained))
    layers = [layer for layer, module in modules if module and _is_on(module)]
    by_name: dict[str, list[WeightedLayer]] = {}
    for layer in layers:
        by_name.setdefault(layer.weight_name, []).append(layer)
    by_path: dict[str, list[WeightedLayer]] = {}
    for layer in layers:
        by_path.setdefault(layer.layer, []).append(layer)
    done = set()
    for node in [node for node in graph if node.op_type in WEIGHTED]:
        parameter = required(node, 1)
        producer = parameter.producer()
        if producer is not None and producer.op_type == "Transpose":
            node, parameter = producer, required(producer, 0)
        # Layers that share a weight come in the same order in both graphs.
        same = by_name.get(str(parameter.name), [])
        if not parameter.is_initializer():
            continue
        found = (same.pop(0) if len(same) > 1 else same[0]) if same else _by_weight(by_path, node, parameter, trained)
        if found is not None:
            _quantise(graph, node, parameter, found, tensor_of(trained, found.weight_name))
            done.add(found.weight_name)
    lost = [layer.layer for layer in layers if layer.weight_name not in done]
    if lost:
        raise ExportError(
            f"the weight of {lost[0]} is quantised and did not come through PyTorch's exporter; "
            f"leave it in float (keep_float={lost!r}), and report it with the network"
        )


def _by_weight(
    layers: dict[str, list[WeightedLayer]], node: ir.Node, parameter: ir.Value, trained: GraphModule
) -> WeightedLayer | None:
    """Find the layer of ``node`` by its path; of several under one, as in attention, the one with this weight."""
    found = layers.get(layer_of(node), [])
    if len(found) < 2:
        return next(iter(found), None)
    values = constant(parameter)
    weights = ((layer, tensor_of(trained, layer.weight_name).detach().cpu().numpy()) for layer in found)
    return next((layer for layer, own in weights if np.array_equal(own, values) or np.array_equal(own.T, values)), None)


def _is_on(module: FakeQuantize) -> bool:
    return bool(module.fake_quant_enabled[0])


def _quantise(graph: ir.Graph, reader: ir.Node, parameter: ir.Value, layer: WeightedLayer, weight: Tensor) -> None:
    module, name = layer.weight_fake_quant, parameter.name
    assert module is not None
    values = constant(parameter)
    # The exporter transposes the weight of a linear layer on tokens itself, and renames it.
    transposed = values.ndim == 2 and not np.array_equal(values, weight.detach().cpu().numpy())
    axis = {"axis": values.ndim - 1 - module.ch_axis if transposed else module.ch_axis}
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
