"""Rules on the inputs of a convolution or a matrix product in ONNX Runtime."""

from edgekd.lint.common import INPUTS
from edgekd.lint.layer import LayerContext
from edgekd.lint.result import LintVerdict
from edgekd.lint.rule import Rules, joined
from edgekd.registry import Registry
from edgekd.runtimes.onnxruntime.rules.types import EIGHT_BITS, input_type

RULES: Rules = joined("rule on inputs", INPUTS)
OF_INT8: Rules = Registry("rule on inputs of int8 layers")

UNFOLDED = "keep the DequantizeLinear of the weight: simplify the float file before it is quantised, not after"


@RULES.register("weights_folded")
def weights_folded(layer: LayerContext) -> LintVerdict | None:
    if layer.activation is None or not layer.folded_weight or _quantises_it_itself(layer):
        return None
    return LintVerdict("float", "its weight is stored in float: a simplifier folded its DequantizeLinear", UNFOLDED)


@OF_INT8.register("weights_folded")
def weights_folded_anew(layer: LayerContext) -> LintVerdict | None:
    if not layer.folded_weight:
        return None
    return LintVerdict(
        "accuracy",
        "its weight is stored in float (a simplifier folded its DequantizeLinear): ONNX Runtime quantises it anew, "
        "with one scale for all channels, and the file is four times as large",
        UNFOLDED,
    )


@RULES.register("bits")
def bits(layer: LayerContext) -> LintVerdict | None:
    wide = [
        each.dtype for each in (layer.activation, layer.weight) if each is not None and each.dtype not in EIGHT_BITS
    ]
    if not wide:
        return None
    return LintVerdict("float", f"it is quantised to {wide[0]}; the CPU has int8 kernels only", "quantise to 8 bits")


@RULES.register("int8_activation")
def int8_activation(layer: LayerContext) -> LintVerdict | None:
    if layer.activation is None or not layer.converts_int8 or input_type(layer, layer.node.input[0]) != "int8":
        return None
    return LintVerdict(
        "float",
        "its int8 activation is read by others too or comes from outside, so that ONNX Runtime does not make it uint8, "
        "the only type that its x86 kernels take",
        "quantise activations to uint8",
    )


@RULES.register("weight_type")
def weight_type(layer: LayerContext) -> LintVerdict | None:
    if layer.activation is None or layer.weight is None or layer.weight.dtype != "uint8":
        return None
    if input_type(layer, layer.node.input[0]) != "int8":
        return None
    return LintVerdict("float", "int8 activations with uint8 weights have no kernel", "quantise the weights to int8")


@OF_INT8.register("activation_per_channel")
def activation_per_channel(layer: LayerContext) -> LintVerdict | None:
    if layer.activation is None or not layer.activation.per_channel:
        return None
    return LintVerdict(
        "refused",
        "its activation is quantised per channel: it loads and fails at the first run (zero point must be a scalar)",
        "quantise activations per tensor",
    )


def _quantises_it_itself(layer: LayerContext) -> bool:
    """ONNX Runtime does so for Conv and Gemm with a stored bias or none, where the output is quantised."""
    bias_stored = layer.bias is None or layer.graph.stored(layer.bias) is not None
    takes = layer.op in ("Conv", "Gemm") or layer.bias_sum is not None
    return takes and bias_stored and layer.output_quantiser is not None
