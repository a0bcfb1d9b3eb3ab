"""One trained, fake-quantised network, and the ONNX that each runtime runs fastest."""

from collections import Counter
from collections.abc import Collection

import numpy as np
import onnx
import onnx_ir as ir
from onnx import ModelProto
from onnx_ir.passes import common

from edgekd.errors import ExportError
from edgekd.export.deploy.bias import encode_bias
from edgekd.export.deploy.clips import clip_codes
from edgekd.export.deploy.encode import zero_point_for
from edgekd.export.deploy.fences import fence_off
from edgekd.export.deploy.float16 import to_float16
from edgekd.export.deploy.gates import Gates
from edgekd.export.deploy.places import Weight, before_clamp, constant, given, initializer, places_of, weights_of
from edgekd.export.deploy.plan import QdqPlan, make_plan
from edgekd.export.profile import PROFILES, Profile


def deploy(model: ModelProto, profile: str, keep_float: Collection[str] = ()) -> ModelProto:
    """The file for ``profile`` of a graph with QuantizeLinear and DequantizeLinear at every trained place; a copy.

    Args:
        model: as :func:`edgekd.quantize.places.to_places` writes it.
        keep_float: what stays in float: names of nodes, or paths of layers with all that is under them;
            ``("",)`` is the whole network.

    Raises:
        ExportError: a constant does not fit the profile's types, or the result is not valid.
    """
    wanted = PROFILES.find(profile)
    inside = ir.from_proto(model)
    graph = inside.graph
    weights = list(weights_of(graph))
    places = places_of(graph)
    plan = make_plan(graph, places, weights, wanted, keep_float)
    for place in plan.dropped:
        place.result.replace_all_uses_with(place.source, replace_graph_outputs=True)
        graph.remove([place.dequantize, place.quantize], safe=True)
    _read_what_is_there(plan, wanted)
    symmetric = any(place.zero_point.dtype == np.int8 for place in plan.kept)
    _encode(graph, plan, wanted)
    for weight in weights:
        _store(graph, weight, weight.layer in plan.int8)
    added: list[ir.Node] = []
    if wanted.runtime == "onnxruntime":
        added = Gates(graph, plan.kept, wanted).rewrite(plan.int8)
        clip_codes(graph, plan, symmetric)
        fence_off(graph)
        for layer in [node for node in graph if node in plan.int8]:
            encode_bias(graph, layer)
    if wanted.float16:
        to_float16(graph)
    _finish(inside, wanted)
    result = ir.to_proto(inside)
    _check(result, plan, weights, added)
    return result


def _read_what_is_there(plan: QdqPlan, profile: Profile) -> None:
    """What computes in float reads the float activation, where there is one: no rounding is done for nothing."""
    for place in plan.kept:
        maker = place.source.producer()
        if profile.quantised_outputs and before_clamp(maker) in plan.int8:
            continue
        for use in place.result.uses():
            if use.node not in plan.int8 and not (use.node.op_type == "Add" and not profile.quantised_outputs):
                use.node.replace_input_with(use.idx, place.source)


def _encode(graph: ir.Graph, plan: QdqPlan, profile: Profile) -> None:
    zero_points = [zero_point_for(place, profile) for place in plan.kept]
    for index, (place, zero_point) in enumerate(zip(plan.kept, zero_points, strict=True)):
        value = initializer(graph, f"zero_point_{index}", zero_point)
        place.quantize.replace_input_with(2, value)
        place.dequantize.replace_input_with(2, value)
        place.quantize.outputs[0].type = ir.TensorType(ir.DataType.from_numpy(zero_point.dtype))


def _store(graph: ir.Graph, weight: Weight, in_int8: bool) -> None:
    """The weight as int8 with a DequantizeLinear, or as the float that these codes stand for."""
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


def _finish(model: ir.Model, profile: Profile) -> None:
    for node in model.graph:
        # TensorRT 10 cannot infer it through a DequantizeLinear.
        if node.op_type in ("Conv", "ConvTranspose") and "kernel_shape" not in node.attributes:
            kernel = _kernel_shape(node)
            node.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", kernel)
    for tidy in (
        common.RemoveUnusedNodesPass(),
        common.DeduplicateInitializersPass(size_limit=1024),
        common.TopologicalSortPass(),
        common.NameFixPass(),
    ):
        tidy(model)


def _kernel_shape(node: ir.Node) -> list[int]:
    weight = given(node, 1)
    maker = weight.producer()
    stored = given(maker, 0) if maker is not None else weight
    return [int(size) for size in constant(stored).shape[2:]]


def _check(model: ModelProto, plan: QdqPlan, weights: Collection[Weight], added: Collection[ir.Node]) -> None:
    """Nothing above may lose or gain a step; a simplifier that folds one makes int8 float without a word."""
    counts = Counter(node.op_type for node in model.graph.node)
    steps = sum(node.op_type == "QuantizeLinear" for node in added)
    quantised = sum(weight.layer in plan.int8 for weight in weights)
    gone = sum(place.quantize.graph is None for place in plan.kept)
    expected = len(plan.kept) - gone + steps
    if counts["QuantizeLinear"] != expected:
        raise ExportError(
            f"the graph should hold {expected} QuantizeLinear and holds {counts['QuantizeLinear']}: a rewriting lost "
            "some; please report it with the network"
        )
    if counts["DequantizeLinear"] < expected + quantised:
        raise ExportError(
            f"the graph should hold at least {expected + quantised} DequantizeLinear and holds "
            f"{counts['DequantizeLinear']}: a rewriting lost some; please report it with the network"
        )
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise ExportError(f"the graph for this runtime is not valid ONNX: {error}") from error
