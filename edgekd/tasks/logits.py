"""The output that a task decodes: a logit for each class or label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgekd.errors import ModelError
from edgekd.tasks.tensor_spec import FLOATS, LOGITS

if TYPE_CHECKING:
    from torch import Tensor

    from edgekd.tasks.signature import Signature


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
    if (dtype := signature.outputs[0].dtype) not in FLOATS:
        raise ModelError(f"the network gives {dtype} values; logits are floating-point numbers")


def logits_of_outputs(outputs: Mapping[str, Tensor], network: str) -> Tensor:
    """Return the output that a task decodes.

    Raises:
        ModelError: none of the outputs is called ``logits``.
    """
    if LOGITS not in outputs:
        raise ModelError(
            f"{network} gives {', '.join(outputs)}: call the output that is learned {LOGITS!r}, in a dict that forward "
            "returns"
        )
    return outputs[LOGITS]
