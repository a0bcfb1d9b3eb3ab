"""Inputs and outputs of a network: tensors by name, with shapes, types and meanings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekd.errors import ModelError

if TYPE_CHECKING:
    from typing import Literal

# What a network that takes and gives bare tensors calls them, in its files too.
INPUT, LOGITS = "input", "logits"


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a network.

    Attributes:
        name: also its name in the ONNX file and in the bundle.
        shape: of one sample; a str is a named open dimension.
        bounds: the values that examples, benchmarks and self-tests may hold.
        kind: of an output: scores of classes of which one holds, of labels of which any hold, values, bins, features.
        axis: where the classes, labels or bins of an output lie, in ``shape``.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str = "float32"
    bounds: tuple[float, float] = (0.0, 1.0)
    kind: Literal["classes", "labels", "values", "bins", "features"] | None = None
    axis: int | None = None


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of a network, in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def must_give_logits(signature: Signature, count: int, kind: str) -> None:
    """Refuse a network that does not give one logit for each of ``count`` classes or labels, and nothing else.

    Args:
        kind: what is counted, in the singular, for the message.

    Raises:
        ModelError: it gives other outputs.
    """
    found = [(each.name, each.shape) for each in signature.outputs]
    if found != [(LOGITS, (count,))]:
        given = ", ".join(f"{name!r} of shape {shape}" for name, shape in found) or "nothing"
        raise ModelError(
            f"the network gives {given}; expected one output {LOGITS!r} of shape {(count,)}, a logit for each {kind}: "
            "return that alone, or name another task"
        )
    if (dtype := signature.outputs[0].dtype) not in ("float32", "float16", "float64", "bfloat16"):
        raise ModelError(f"the network gives {dtype} values; logits are floating-point numbers")
