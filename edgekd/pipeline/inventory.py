"""The operators of an exported file, and the share of its arithmetic that is in int8."""

from collections import Counter

import onnx

from edgekd.lint import lint
from edgekd.lint.layer import WEIGHTED


def operator_counts(model: onnx.ModelProto) -> dict[str, int]:
    """Count nodes by operator, with its domain where it is not ONNX's own."""
    names = [f"{node.domain}.{node.op_type}" if node.domain else node.op_type for node in model.graph.node]
    return dict(sorted(Counter(names).items()))


def int8_coverage(model: onnx.ModelProto, profile: str, confirm: bool) -> float | None:
    """Return the share of the multiply-accumulates that runs in int8, or None if the network has hardly any.

    ``confirm`` asks the runtime itself, see :func:`edgekd.lint.lint`.
    """
    if not any(node.op_type in WEIGHTED for node in model.graph.node):
        return None
    return lint(model, profile, confirm=confirm).coverage
