"""The types that ONNX Runtime's optimiser sees, after what it does to them on x86.

There a QuantizeLinear to int8 is made one to uint8, zero point moved, where a single DequantizeLinear reads it. Since
each reader of a DequantizeLinear is given one of its own before, that of a residual, read twice, stays in int8.
"""

from edgekd.lint.graph import DEQUANTIZE, QUANTIZE
from edgekd.lint.site import LintSite

EIGHT_BITS = ("int8", "uint8")


def input_type(site: LintSite, name: str) -> str | None:
    """That of a quantised input; ``None`` for one in float."""
    graph = site.graph
    quantiser = graph.dequantiser(name, site.moving)
    if quantiser is None:
        return None
    if quantiser.dtype != "int8" or not site.converts_int8:
        return quantiser.dtype
    if graph.uses(name) > 1:
        return "int8"
    if graph.source(name) is not quantiser.node:
        return "uint8"  # behind an operator that moves values ONNX Runtime puts a pair, which is converted
    maker = graph.source(quantiser.node.input[0])
    converted = maker is not None and maker.op_type == QUANTIZE and graph.uses(maker.output[0]) == 1
    return "uint8" if converted else "int8"


def output_type(site: LintSite) -> str | None:
    """That of the quantised output; ``None`` where it goes on in float."""
    quantiser, graph = site.output_quantiser, site.graph
    if quantiser is None:
        return None
    if quantiser.dtype != "int8" or not site.converts_int8:
        return quantiser.dtype
    if site.output.moved:
        return "uint8"
    readers = graph.readers(quantiser.node.output[0])
    single = graph.uses(quantiser.node.output[0]) == len(readers) == 1
    converted = single and readers[0].op_type == DEQUANTIZE and graph.uses(readers[0].output[0]) <= 1
    return "uint8" if converted else "int8"
