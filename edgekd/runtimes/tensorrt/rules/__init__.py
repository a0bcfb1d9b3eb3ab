"""TensorRT: what its parser refuses, what keeps a layer in float, and where int8 wins little.

Rules of NVIDIA's guide to explicit quantisation, of the parser (onnx-tensorrt), and of Model-Optimizer's choice of
convolutions; held against TensorRT for RTX 1.7 where it can say something.
"""

from edgekd.lint.common import INPUTS
from edgekd.lint.rule import Rulebook, Rules, joined
from edgekd.lint.target import LintTarget
from edgekd.registry import Registry
from edgekd.runtimes.tensorrt.confirm import confirm
from edgekd.runtimes.tensorrt.rules import channels, inputs, joins, weights
from edgekd.runtimes.tensorrt.rules.parameters import PARAMETERS, file_findings

NOTHING: Rules = Registry("rule")
WEIGHTED = Rulebook(
    joined("rule on weighted layers", PARAMETERS, INPUTS, inputs.RULES, weights.RULES),
    joined("rule on int8 layers", inputs.OF_INT8, channels.OF_INT8),
)
JOIN = Rulebook(joined("rule on sums and concatenations", PARAMETERS, joins.JOINS), joins.OF_INT8)
UNARY = Rulebook(joined("rule on poolings", PARAMETERS, joins.UNARY), NOTHING)

RULES: dict[str, Rulebook] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), WEIGHTED),
    **dict.fromkeys(("Add", "Concat"), JOIN),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool"), UNARY),
}
TARGETS = {"tensorrt": LintTarget("tensorrt", RULES, confirm, of_file=file_findings, also_moving=("Flatten",))}
