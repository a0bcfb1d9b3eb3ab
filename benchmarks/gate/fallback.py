"""A quantised file with some of its layers taken back to float, as when a runtime or an exporter gives one up."""

from copy import deepcopy

import onnx
from onnx import NodeProto, numpy_helper

WEIGHTED = ("Conv", "Gemm", "MatMul")
QUANTISE, DEQUANTISE = "QuantizeLinear", "DequantizeLinear"


def quantised_layers(model: onnx.ModelProto) -> list[str]:
    """The outputs of the layers whose two operands come out of quantisers."""
    made = {output: node for node in model.graph.node for output in node.output}
    return [
        node.output[0]
        for node in model.graph.node
        if node.op_type in WEIGHTED
        and all(made.get(name) is not None and made[name].op_type == DEQUANTISE for name in node.input[:2])
    ]


def layers_in_float(model: onnx.ModelProto, outputs: list[str]) -> onnx.ModelProto:
    """A copy in which the layers that give ``outputs`` read what was there before it was quantised."""
    model = deepcopy(model)
    made = {output: node for node in model.graph.node for output in node.output}
    held = {each.name: each for each in model.graph.initializer}
    for layer in [made[output] for output in outputs]:
        for place, name in enumerate(layer.input):
            dequantise = made.get(name)
            if dequantise is None or dequantise.op_type != DEQUANTISE:
                continue
            source = made.get(dequantise.input[0])
            if source is not None and source.op_type == QUANTISE:
                layer.input[place] = source.input[0]
            elif dequantise.input[0] in held:
                layer.input[place] = in_float(model, dequantise, held)
    drop_unused(model)
    onnx.checker.check_model(model)
    return model


def in_float(model: onnx.ModelProto, dequantise: NodeProto, held: dict[str, onnx.TensorProto]) -> str:
    """The name of a new initializer with what ``dequantise`` would have given."""
    quantised, scale, *zero = (numpy_helper.to_array(held[name]) for name in dequantise.input)
    axis = next((each.i for each in dequantise.attribute if each.name == "axis"), 1)
    shape = [1] * quantised.ndim
    if scale.ndim:
        shape[axis] = -1
    name = f"{dequantise.output[0]}.float"
    if name not in held:
        steps = quantised.astype(scale.dtype) - (zero[0].astype(scale.dtype).reshape(shape) if zero else 0)
        held[name] = numpy_helper.from_array(steps * scale.reshape(shape), name)
        model.graph.initializer.append(held[name])
    return name


def drop_unused(model: onnx.ModelProto) -> None:
    """Nodes and initializers that nothing reads any more."""
    graph = model.graph
    while True:
        read = {name for node in graph.node for name in node.input} | {each.name for each in graph.output}
        idle = [node for node in graph.node if not read & set(node.output)]
        if not idle:
            break
        for node in idle:
            graph.node.remove(node)
    unread = [each for each in graph.initializer if each.name not in read]
    for each in unread:
        graph.initializer.remove(each)
