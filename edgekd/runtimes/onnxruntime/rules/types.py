"""The types that ONNX Runtime's optimiser sees, after its conversions on x86.

There a QuantizeLinear to int8 becomes one to uint8, with its zero point moved, if a single DequantizeLinear reads it.
Each reader of a DequantizeLinear is given one of its own before that, so a residual, read twice, stays in int8.
"""

from edgekd.lint.graph import DEQUANTIZE, QUANTIZE
from edgekd.lint.layer import LayerContext

EIGHT_BITS = ("int8", "uint8")


def input_type(layer: LayerContext, name: str) -> str | None:
    """Return the type of a quantised input, or None for one in float."""
    graph = layer.graph
    quantiser = graph.dequantiser(name, layer.moving)
    if quantiser is None:
        return None
    if quantiser.dtype != "int8" or not layer.converts_int8:
        return quantiser.dtype
    if graph.uses(name) > 1:
        return "int8"
    if graph.source(name) is not quantiser.node:
        return "uint8"  # behind an operator that moves values ONNX Runtime puts a pair, which is converted
    maker = graph.source(quantiser.node.input[0])
    converted = maker is not None and maker.op_type == QUANTIZE and graph.uses(maker.output[0]) == 1
    return "uint8" if converted else "int8"


def output_type(layer: LayerContext) -> str | None:
    """Return the type of the quantised output, or None if it stays in float."""
    quantiser, graph = layer.output_quantiser, layer.graph
    if quantiser is None:
        return None
    if quantiser.dtype != "int8" or not layer.converts_int8:
        return quantiser.dtype
    if layer.output.moved:
        return "uint8"
    readers = graph.readers(quantiser.node.output[0])
    single = graph.uses(quantiser.node.output[0]) == len(readers) == 1
    converted = single and readers[0].op_type == DEQUANTIZE and graph.uses(readers[0].output[0]) <= 1
    return "uint8" if converted else "int8"
