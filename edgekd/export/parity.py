"""Whether two runtimes answer alike."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Parity:
    """``agreement``: share of samples with the same class; ``max_abs_difference`` of their logits."""

    agreement: float
    max_abs_difference: float
    n: int


def parity(ours: Tensor, theirs: Tensor) -> Parity:
    """Compares logits (N, classes) of the same samples."""
    agreement = float((ours.argmax(1) == theirs.argmax(1)).double().mean())
    return Parity(agreement, float((ours - theirs).abs().max()), len(ours))
