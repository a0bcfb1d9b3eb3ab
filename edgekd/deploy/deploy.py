"""From one trained, fake-quantised network to the ONNX graph that each runtime runs fastest."""

from collections import Counter
from collections.abc import Collection

import numpy as np
import onnx
import onnx_ir as ir
from onnx import ModelProto
from onnx_ir.passes import common

from edgekd.deploy.float16 import to_float16
from edgekd.deploy.names import name_values
from edgekd.deploy.plan import QdqPlan
from edgekd.deploy.qdq import (
    QuantizedWeight,
    before_clamp,
    constant,
    initializer,
    layer_of,
    qdq_pairs,
    quantized_weights,
    required,
)
from edgekd.deploy.writer import writer_of
from edgekd.deploy.zero_points import zero_point_for
from edgekd.errors import ExportError
from edgekd.nearest import nearest
from edgekd.profiles import PROFILES
from edgekd.runtime import Profile


def deploy(model: ModelProto, profile: str, keep_float: Collection[str] = ()) -> ModelProto:
    """Convert a graph with a Q/DQ pair at every fake-quant to the graph of the runtime of ``profile``; a copy.

    Args:
        model: as :func:`edgekd.quantize.qdq.to_qdq` writes it.
        keep_float: names of nodes, or paths of layers with all layers under them, that stay in float; ``("",)`` is the
            whole network.

    Raises:
        ExportError: ``keep_float`` names what is not there, a constant does not fit the profile's types, or the result
            is not valid.
    """
    wanted = PROFILES.find(profile)
    inside = ir.from_proto(model)
    graph = inside.graph
    _must_hold(graph, keep_float)
    names = [[str(value.name) for value in side] for side in (graph.inputs, graph.outputs)]
    weights = list(quantized_weights(graph))
    pairs = qdq_pairs(graph)
    writer = writer_of(profile)
    plan = writer.plan(graph, pairs, weights, wanted, keep_float)
    for pair in plan.dropped:
        pair.result.replace_all_uses_with(pair.source, replace_graph_outputs=True)
        graph.remove([pair.dequantize, pair.quantize], safe=True)
    if writer.bypasses:
        _bypass_in_float(plan, wanted)
    _encode(graph, plan, wanted)
    for weight in weights:
        _store(graph, weight, weight.layer in plan.int8)
    added = writer.rewrite(graph, plan, wanted)
    if wanted.float16:
        to_float16(graph)
    _finish(inside, writer.shares_constants)
    name_values(graph, *names)
    result = ir.to_proto(inside)
    _check(result, plan, weights, added)
    return result


def _must_hold(graph: ir.Graph, keep_float: Collection[str]) -> None:
    layers = list(dict.fromkeys(layer_of(node) for node in graph if layer_of(node)))
    known = {"", *(str(node.name) for node in graph), *layers}
    for path in keep_float:
        if path not in known and not any(layer.startswith(f"{path}.") for layer in layers):
            raise ExportError(f"the network has no layer {path!r} to keep in float{nearest(path, layers)}")


def _bypass_in_float(plan: QdqPlan, profile: Profile) -> None:
    """Let float operators read the float activation before a Q/DQ pair, if there is one."""
    for pair in plan.kept:
        maker = pair.source.producer()
        if profile.quantised_outputs and before_clamp(maker) in plan.int8:
            continue
        for use in pair.result.uses():
            if use.node not in plan.int8 and not (use.node.op_type == "Add" and not profile.quantised_outputs):
                use.node.replace_input_with(use.idx, pair.source)


def _encode(graph: ir.Graph, plan: QdqPlan, profile: Profile) -> None:
    zero_points = [zero_point_for(pair, profile) for pair in plan.kept]
    for index, (pair, zero_point) in enumerate(zip(plan.kept, zero_points, strict=True)):
        value = initializer(graph, f"zero_point_{index}", zero_point)
        pair.quantize.replace_input_with(2, value)
        pair.dequantize.replace_input_with(2, value)
        pair.quantize.outputs[0].type = ir.TensorType(ir.DataType.from_numpy(zero_point.dtype))


def _store(graph: ir.Graph, weight: QuantizedWeight, in_int8: bool) -> None:
    """Store the weight as int8 with a DequantizeLinear, or as the float values of its codes."""
    codes, axis, layer = weight.codes, weight.axis, weight.layer
    if weight.transposed:
        codes, axis = codes.T, codes.ndim - 1 - axis
    name = weight.parameter.name
    if not in_int8:
        shape = [-1 if dim == axis else 1 for dim in range(codes.ndim)]
        values = codes.astype(np.float32) * weight.scale.reshape(shape)
        layer.replace_input_with(1, initializer(graph, f"{name}_float", values))
        return
    stored = initializer(graph, f"{name}_int8", codes)
    scale = initializer(graph, f"{name}_scale", weight.scale)
    zero_point = initializer(graph, f"{name}_zero_point", np.zeros(len(weight.scale), np.int8))
    step = ir.node("DequantizeLinear", [stored, scale, zero_point], {"axis": axis}, name=f"{layer.name}/weight")
    layer.prepend(step)
    layer.replace_input_with(1, step.outputs[0])


def _finish(model: ir.Model, shares_constants: bool) -> None:
    for node in model.graph:
        # TensorRT 10 cannot infer it through a DequantizeLinear.
        if node.op_type in ("Conv", "ConvTranspose") and "kernel_shape" not in node.attributes:
            kernel = _kernel_shape(node)
            node.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", kernel)
    for tidy in (
        common.RemoveUnusedNodesPass(),
        *([common.DeduplicateInitializersPass(size_limit=1024)] if shares_constants else []),
        common.TopologicalSortPass(),
        common.NameFixPass(),
    ):
        tidy(model)


def _kernel_shape(node: ir.Node) -> list[int]:
    weight = required(node, 1)
    maker = weight.producer()
    stored = required(maker, 0) if maker is not None else weight
    return [int(size) for size in constant(stored).shape[2:]]


def _check(model: ModelProto, plan: QdqPlan, weights: Collection[QuantizedWeight], added: Collection[ir.Node]) -> None:
    """Refuse a graph that lost or gained Q/DQ steps: a folded one would turn int8 into float without notice."""
    counts = Counter(node.op_type for node in model.graph.node)
    steps = sum(node.op_type == "QuantizeLinear" for node in added)
    quantised = sum(weight.layer in plan.int8 for weight in weights)
    gone = sum(pair.quantize.graph is None for pair in plan.kept)
    expected = len(plan.kept) - gone + steps
    if counts["QuantizeLinear"] != expected:
        raise ExportError(
            f"the graph should hold {expected} QuantizeLinear and holds {counts['QuantizeLinear']}: a rewrite lost "
            "some; please report it with the network"
        )
    if counts["DequantizeLinear"] < expected + quantised:
        raise ExportError(
            f"the graph should hold at least {expected + quantised} DequantizeLinear and holds "
            f"{counts['DequantizeLinear']}: a rewrite lost some; please report it with the network"
        )
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise ExportError(f"the graph for this runtime is not valid ONNX: {error}") from error
