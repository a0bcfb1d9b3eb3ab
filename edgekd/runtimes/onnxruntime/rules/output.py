"""Rules on a layer's output: ONNX Runtime fuses it if it goes to one QuantizeLinear, past clamps that do nothing."""

from typing import TYPE_CHECKING

import numpy as np

from edgekd.lint.graph import QUANTIZE, LintGraph, Quantiser, attribute
from edgekd.lint.layer import CLAMPS, LayerContext, Output, node_label, node_labels
from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules
from edgekd.registry import Registry
from edgekd.runtimes.onnxruntime.rules.types import EIGHT_BITS, input_type, output_type

if TYPE_CHECKING:
    from onnx import NodeProto

CONVOLUTION: Rules = Registry("rule on where an output goes")
PRODUCT: Rules = Registry("rule on where a product's output goes")
RULES: Rules = Registry("rule on outputs")


@CONVOLUTION.register("output_float")
def output_float(layer: LayerContext) -> LintVerdict | None:
    """Check that the output is quantised: only a matrix product has a kernel from int8 to float."""
    if layer.output_quantiser is not None or not touches_int8(layer):
        return None
    return LintVerdict(
        "float", f"its output is not quantised: {where_to(layer.output)}", "put a QuantizeLinear behind it, alone"
    )


@PRODUCT.register("output_float")
def product_output(layer: LayerContext) -> LintVerdict | None:
    """Check that a product's float output does not pass a clamp or go to a QuantizeLinear too."""
    output = layer.output
    if output.quantiser is not None or layer.activation is None or layer.op == "ConvTranspose":
        return None
    ways = len(output.readers) + output.is_output
    if ways > 1 and not output.clamps and any(_quantises(layer.graph, node) for node in output.readers):
        return LintVerdict(
            "float", f"its output is quantised and also read in float: {where_to(output)}", "quantise it once"
        )
    if output.clamps and len(output.readers) == 1 and not output.is_output:
        return LintVerdict(
            "float",
            f"{node_labels(output.clamps)} behind it is read in float: {where_to(output)}",
            "put a QuantizeLinear behind it",
        )
    return None


@RULES.register("relu_zero_point")
def relu_zero_point(layer: LayerContext) -> LintVerdict | None:
    """Check that the smallest code already stands for zero: only then does a ReLU do nothing."""
    taken = layer.output_quantiser
    if taken is None or taken.dtype not in EIGHT_BITS or not touches_int8(layer):
        return None
    left = [node for node in layer.output.clamps if node.op_type == "Relu" and not makes_idle(layer.graph, taken, node)]
    if not left:
        return None
    return LintVerdict(
        "float",
        f"{node_labels(left)} is not absorbed: its output has the {taken.dtype} zero point {taken.zero}, not "
        f"{np.iinfo(taken.dtype).min}" + (" (symmetric activations)" if _symmetric(taken) else ""),
        "quantise what comes out of a ReLU to uint8 with zero point 0",
    )


@RULES.register("clip_range")
def clip_range(layer: LayerContext) -> LintVerdict | None:
    taken = layer.output_quantiser
    if taken is None or taken.dtype not in EIGHT_BITS or not touches_int8(layer):
        return None
    left = [node for node in layer.output.clamps if node.op_type == "Clip" and not makes_idle(layer.graph, taken, node)]
    if not left:
        return None
    return LintVerdict(
        "float",
        f"{node_labels(left)} is not absorbed: {range_of(taken)} reaches beyond {bounds_text(layer, left[0])}",
        "let the quantised range end where the Clip does: for a ReLU6 uint8, zero point 0, scale 6/255",
    )


@RULES.register("type_mismatch")
def type_mismatch(layer: LayerContext) -> LintVerdict | None:
    into, out = input_type(layer, layer.node.input[0]), output_type(layer)
    if into is None or out is None or into == out:
        return None
    single = layer.activation is not None and layer.output_quantiser is not None
    same = single and layer.activation.dtype == layer.output_quantiser.dtype  # type: ignore[union-attr]
    why = ": on x86 ONNX Runtime makes int8 uint8 only where it is read once" if same else ""
    return LintVerdict(
        "float",
        f"its input is {into} and its output {out}{why}",
        "quantise all activations to one type",
    )


def touches_int8(layer: LayerContext) -> bool:
    return any(layer.graph.dequantiser(name, layer.moving) is not None for name in layer.node.input if name)


def _quantises(graph: LintGraph, reader: "NodeProto") -> bool:
    """Return whether ``reader`` is a QuantizeLinear, or a clamp that ONNX Runtime drops before one."""
    if reader.op_type not in CLAMPS:
        return reader.op_type == QUANTIZE
    onward = graph.readers(reader.output[0])
    single = len(onward) == 1 and onward[0].op_type == QUANTIZE and not graph.is_output(reader.output[0])
    return single and makes_idle(graph, graph.quantiser(onward[0]), reader)


def makes_idle(graph: LintGraph, taken: Quantiser, clamp: "NodeProto") -> bool:
    """Return whether ``clamp`` changes no value of the quantised range: rint(bound / scale) + zero is at its ends."""
    if taken.scale is None or taken.scale.size != 1:
        return False
    ends = np.iinfo(taken.dtype)
    low, high = bounds(graph, clamp)
    steps = [np.rint(bound / float(taken.scale.flat[0])) + taken.zero for bound in (low, high)]
    return bool(steps[0] <= ends.min and steps[1] >= ends.max)


def bounds(graph: LintGraph, clamp: "NodeProto") -> tuple[float, float]:
    """Return the clamp's bounds, NaN for one that is computed."""
    if clamp.op_type == "Relu":
        return 0.0, float("inf")
    found = []
    for place, name, absent in ((1, "min", -np.inf), (2, "max", np.inf)):
        given = clamp.input[place] if len(clamp.input) > place else ""
        if not given:
            found.append(float(attribute(clamp, name, absent)))
            continue
        behind = graph.dequantiser(given)
        stored = graph.constant(given)
        if behind is not None and (maker := graph.source(behind.node.input[0])) is not None:
            stored = graph.constant(maker.input[0])
        found.append(float("nan") if stored is None else float(stored.flat[0]))
    return found[0], found[1]


def range_of(taken: Quantiser) -> str:
    if taken.scale is None:
        return "a computed scale"
    ends, scale = np.iinfo(taken.dtype), float(taken.scale.flat[0])
    return f"the quantised range [{scale * (ends.min - taken.zero):.4g}, {scale * (ends.max - taken.zero):.4g}]"


def bounds_text(layer: LayerContext, clamp: "NodeProto") -> str:
    low, high = bounds(layer.graph, clamp)
    return f"[{low:g}, {high:g}]"


def where_to(output: Output) -> str:
    ways = [node_label(node) for node in output.readers] + ["an output of the network"] * output.is_output
    return "it goes to " + ", ".join(dict.fromkeys(ways)) if ways else "nothing reads it"


def _symmetric(taken: Quantiser) -> bool:
    return taken.zero == (0 if taken.dtype == "int8" else 128)
