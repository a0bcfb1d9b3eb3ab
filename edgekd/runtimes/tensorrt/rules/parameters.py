"""Rules of TensorRT's parser on every QuantizeLinear and DequantizeLinear."""

from collections.abc import Callable, Iterator

import numpy as np

from edgekd.lint.graph import DEQUANTIZE, QUANTIZE, LintGraph, Quantiser
from edgekd.lint.layer import LayerContext, node_label
from edgekd.lint.result import LintFinding, LintVerdict
from edgekd.lint.rule import Rules
from edgekd.registry import Registry

PARAMETERS: Rules = Registry("rule on quantisers")
CHECKS: dict[str, Callable[[LintGraph, Quantiser], LintVerdict | None]] = {}


def check(
    code: str,
) -> Callable[[Callable[[LintGraph, Quantiser], LintVerdict | None]], Callable[..., LintVerdict | None]]:
    """Register a check of one quantiser, and a rule that applies it to every quantiser around a layer."""

    def add(check: Callable[[LintGraph, Quantiser], LintVerdict | None]) -> Callable[..., LintVerdict | None]:
        def of_layer(layer: LayerContext) -> LintVerdict | None:
            return next((found for each in around(layer) if (found := check(layer.graph, each)) is not None), None)

        CHECKS[code] = check
        PARAMETERS[code] = of_layer
        return check

    return add


@check("zero_point")
def zero_point(graph: LintGraph, quantiser: Quantiser) -> LintVerdict | None:
    if quantiser.dtype == "int32" or quantiser.zero_point is None or not np.any(quantiser.zero_point):
        return None
    return LintVerdict(
        "refused",
        f"{node_label(quantiser.node)} has the zero point {int(np.ravel(quantiser.zero_point)[0])}: TensorRT takes "
        "symmetric quantisation only",
        "export for tensorrt: int8, zero point 0",
    )


@check("scale")
def scale(graph: LintGraph, quantiser: Quantiser) -> LintVerdict | None:
    if quantiser.scale is None or np.all(quantiser.scale > 0):
        return None
    return LintVerdict(
        "refused",
        f"{node_label(quantiser.node)} has a scale of {float(np.min(quantiser.scale)):g}: all must be positive",
        "give dead channels the scale 1",
    )


@check("uint8")
def uint8(graph: LintGraph, quantiser: Quantiser) -> LintVerdict | None:
    if quantiser.dtype != "uint8":
        return None
    if graph.stored(quantiser.node.input[0]) is not None and quantiser.node.op_type == DEQUANTIZE:
        return LintVerdict(
            "refused",
            f"{node_label(quantiser.node)} has a uint8 constant, which the parser does not take",
            "quantise weights to int8, zero point 0",
        )
    return LintVerdict(
        "accuracy",
        f"{node_label(quantiser.node)} is uint8, which TensorRT reads as int8: values above 127 scales are cut",
        "quantise activations to int8, zero point 0",
    )


@check("bits")
def bits(graph: LintGraph, quantiser: Quantiser) -> LintVerdict | None:
    if quantiser.dtype not in ("int16", "uint16"):
        return None
    return LintVerdict(
        "refused", f"{node_label(quantiser.node)} is {quantiser.dtype}, a type that TensorRT lacks", "quantise to int8"
    )


@check("bias_quantised")
def bias_quantised(graph: LintGraph, quantiser: Quantiser) -> LintVerdict | None:
    if quantiser.dtype != "int32":
        return None
    return LintVerdict(
        "refused",
        f"{node_label(quantiser.node)} dequantises int32, a bias, which TensorRT refuses",
        "leave biases in float (QuantizeBias=False in onnxruntime.quantization)",
    )


def around(layer: LayerContext) -> Iterator[Quantiser]:
    """Yield the quantisers of inputs, weight and output, and the QuantizeLinear before a DequantizeLinear."""
    for name in layer.node.input:
        node = layer.graph.source(name)
        while node is not None and node.op_type in (QUANTIZE, DEQUANTIZE, "Transpose"):
            if node.op_type != "Transpose":
                yield layer.graph.quantiser(node)
            node = layer.graph.source(node.input[0])
    if layer.output_quantiser is not None:
        yield layer.output_quantiser


def elsewhere(graph: LintGraph, reported: set[str]) -> Iterator[LintFinding]:
    """Yield one finding for each code that no layer has, over all quantisers of the file."""
    quantisers = [graph.quantiser(node) for node in graph.nodes if node.op_type in (QUANTIZE, DEQUANTIZE)]
    for code, check in CHECKS.items():
        found = [verdict for each in quantisers if (verdict := check(graph, each)) is not None]
        if found and code not in reported:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            yield LintFinding(code, found[0].effect, found[0].message + more, found[0].advice)


def file_findings(graph: LintGraph, reported: set[str]) -> Iterator[LintFinding]:
    """Yield findings on the whole file; ``reported`` are the codes that layers have already."""
    yield from elsewhere(graph, reported)
    scales = [graph.quantiser(node).scale for node in graph.nodes if node.op_type == DEQUANTIZE]
    if any(scale is not None and scale.dtype.name == "float32" for scale in scales):
        yield LintFinding(
            "float32_rest",
            "note",
            "what is not int8 is float32 in the file, and TensorRT computes in the types that the file gives",
            "export the rest in float16, and time it against a float16 file without quantisers",
        )
