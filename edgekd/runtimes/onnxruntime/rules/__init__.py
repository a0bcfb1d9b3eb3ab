"""ONNX Runtime on the CPU: the rules by which it fuses a layer and its quantisers into one int8 operator.

Each was held against the graphs that ONNX Runtime 1.31 writes after its optimisation; older ones may differ.
"""

from edgekd.lint.rule import Rulebook, Rules, joined
from edgekd.lint.target import LintTarget
from edgekd.registry import Registry
from edgekd.runtimes.onnxruntime.confirm import confirm
from edgekd.runtimes.onnxruntime.rules import bias, inputs, islands, joins, output, pads, weights

NOTHING: Rules = Registry("rule")
_WEIGHTED = (inputs.RULES, weights.RULES, output.RULES, bias.RULES)
_OF_INT8 = joined("rule on int8 layers", inputs.OF_INT8, weights.OF_INT8, bias.OF_INT8)
_ENDS = (output.CONVOLUTION, output.RULES)

CONVOLUTION = Rulebook(joined("rule on convolutions", output.CONVOLUTION, *_WEIGHTED), _OF_INT8)
PRODUCT = Rulebook(joined("rule on matrix products", output.PRODUCT, *_WEIGHTED), _OF_INT8)
JOIN = Rulebook(joined("rule on sums and concatenations", joins.JOINS, *_ENDS), joins.OF_INT8)
UNARY = Rulebook(joined("rule on poolings", joins.UNARY, *_ENDS), joins.OF_INT8)
MOVING_VALUES = Rulebook(islands.MOVING_VALUES, NOTHING)
ISLAND = Rulebook(islands.ISLAND, NOTHING)

# By operator: what ONNX Runtime has an int8 kernel for when it stands between a DequantizeLinear and a QuantizeLinear.
RULES: dict[str, Rulebook] = {
    "Conv": CONVOLUTION,
    "ConvTranspose": ISLAND,
    "Gemm": PRODUCT,
    "MatMul": PRODUCT,
    **dict.fromkeys(("Add", "Mul", "Concat"), JOIN),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "LeakyRelu", "Sigmoid", "Softmax"), UNARY),
    **dict.fromkeys(("MaxPool", "Resize"), MOVING_VALUES),
}


def _target(name: str, *, converts_int8: bool = False, saturates: bool = False) -> LintTarget:
    return LintTarget(name, RULES, confirm, pads.zero_padding, ISLAND, converts_int8, saturates)


TARGETS = {
    "onnxruntime-x86": _target("onnxruntime-x86", converts_int8=True, saturates=True),
    "onnxruntime-x86-vnni": _target("onnxruntime-x86-vnni", converts_int8=True),
    "onnxruntime-arm": _target("onnxruntime-arm"),
}
