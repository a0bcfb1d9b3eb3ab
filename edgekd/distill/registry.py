"""Distillation losses by name, and what each of them is."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from edgekd.errors import TrainingError
from edgekd.registry import Registry

Shape = tuple[int, ...]


class LogitLoss(nn.Module):
    """Of what a student and a teacher answer.

    A loss that has a ``temperature`` reads it at each call: a schedule may change it between two.
    """

    temperature: float

    def forward(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None = None) -> Tensor:
        """A scalar, at least 0, in float32 at least.

        Args:
            student_logits, teacher_logits: (N, classes).
            labels: (N,), of the losses that look at them; below 0 where a sample has none. Where they are left out, or
                for such samples, the teacher's answer stands for the label.
        """
        raise NotImplementedError


class FeatureLoss(nn.Module):
    """Of features that a student and a teacher have at layers that were paired.

    Parameters of its own, such as those of adapters, are trained along with the student's and dropped after.

    Args:
        student_shapes, teacher_shapes: of the features without their batch, (C, H, W) or (C,), in order of depth, pair
            by pair.
        samples: how many the training set has, for losses that remember each of them.

    Raises:
        TrainingError: the method cannot compare such shapes.
    """

    weight: ClassVar[float] = 1.0
    """RepDistiller's, beside a cross-entropy of weight 1."""

    def __init__(self, student_shapes: Sequence[Shape], teacher_shapes: Sequence[Shape], *, samples: int = 0):
        super().__init__()
        if not student_shapes or len(student_shapes) != len(teacher_shapes):
            raise TrainingError(
                f"features come in pairs, and there are {len(student_shapes)} of the student and "
                f"{len(teacher_shapes)} of the teacher: name one layer of each for every pair"
            )
        self.student_shapes, self.teacher_shapes, self.samples = tuple(student_shapes), tuple(teacher_shapes), samples

    @classmethod
    def usual(cls, shapes: Sequence[Shape]) -> list[int]:
        """Of layers with such ``shapes``, in order of depth, the places of those that it compares: here all maps."""
        return [place for place, shape in enumerate(shapes) if len(shape) == 3]

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], indices: Tensor | None = None) -> Tensor:
        """A scalar, at least 0, in float32 at least: the mean over the pairs where the paper has one pair.

        Args:
            student, teacher: the features, (N, *shape) each, in the order of the shapes.
            indices: (N,), the samples' places in the training set, of losses that remember them.
        """
        raise NotImplementedError


LOSSES: Registry[type[LogitLoss | FeatureLoss]] = Registry("distillation method", TrainingError)
