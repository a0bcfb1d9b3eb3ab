"""What is wrong with a file as a whole for TensorRT."""

from collections.abc import Iterator

from edgekd.lint.graph import DEQUANTIZE, LintGraph
from edgekd.lint.result import LintFinding
from edgekd.lint.tensorrt.parameters import elsewhere


def file_findings(graph: LintGraph, said: set[str]) -> Iterator[LintFinding]:
    """``said`` are the codes that layers have."""
    yield from elsewhere(graph, said)
    scales = [graph.quantiser(node).scale for node in graph.nodes if node.op_type == DEQUANTIZE]
    if any(scale is not None and scale.dtype.name == "float32" for scale in scales):
        yield LintFinding(
            "float32_rest",
            "note",
            "what is not int8 is float32 in the file, and TensorRT computes in the types that the file gives",
            "export the rest in float16, and time it against a float16 file without quantisers",
        )
