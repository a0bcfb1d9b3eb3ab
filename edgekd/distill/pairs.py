"""A loss of one pair of layers, over all of them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from edgekd.errors import TrainingError


def mean_over_pairs(
    loss: Callable[[Tensor, Tensor], Tensor], student: Sequence[Tensor], teacher: Sequence[Tensor]
) -> Tensor:
    """The mean of ``loss``(student, teacher) over the pairs.

    Args:
        student, teacher: features, pair by pair, of the same samples.

    Raises:
        TrainingError: there is no pair, or a feature without its partner, or partners are of other samples.
    """
    if not student or len(student) != len(teacher):
        raise TrainingError(
            f"features come in pairs, and there are {len(student)} of the student and {len(teacher)} of the teacher: "
            "give one of each for every pair"
        )
    for ours, theirs in zip(student, teacher, strict=True):
        if len(ours) != len(theirs):
            raise TrainingError(
                f"the student's features are of {len(ours)} samples and the teacher's of {len(theirs)}: "
                "give both networks the same batch"
            )
    return torch.stack([loss(ours, theirs) for ours, theirs in zip(student, teacher, strict=True)]).mean()
