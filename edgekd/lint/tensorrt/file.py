"""Findings on a file as a whole for TensorRT."""

from collections.abc import Iterator

from edgekd.lint.graph import DEQUANTIZE, LintGraph
from edgekd.lint.result import LintFinding
from edgekd.lint.tensorrt.parameters import elsewhere


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
