"""The mean of a loss over pairs of layers."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from edgekd.errors import TrainingError


def mean_over_pairs(
    loss: Callable[[Tensor, Tensor], Tensor], student: Sequence[Tensor], teacher: Sequence[Tensor]
) -> Tensor:
    """Average ``loss(student, teacher)`` over the pairs.

    Args:
        student, teacher: features, pair by pair, of the same samples.

    Raises:
        TrainingError: there is no pair, a feature has no partner, or partners have different numbers of samples.
    """
    if not student or len(student) != len(teacher):
        raise TrainingError(
            f"features come in pairs, and there are {len(student)} of the student and {len(teacher)} of the teacher: "
            "give one of each for every pair"
        )
    for own, reference in zip(student, teacher, strict=True):
        if len(own) != len(reference):
            raise TrainingError(
                f"the student's features are of {len(own)} samples and the teacher's of {len(reference)}: "
                "give both networks the same batch"
            )
    return torch.stack([loss(own, reference) for own, reference in zip(student, teacher, strict=True)]).mean()
