"""Adapters that make features of two networks comparable entry by entry."""

import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.errors import TrainingError
from edgekd.tasks.signature import Shape


class Adapter(nn.Module):
    """Projects a student's features to the teacher's channels; trained along with the student and dropped after.

    For maps it is a 1×1 convolution and BatchNorm, the regressor of Tian, Krishnan and Isola, "Contrastive
    Representation Distillation" (2020), without its ReLU, since layers may be paired before their activation. For
    vectors it is a linear layer. Sizes stay as they are; see :func:`match_sizes`.

    Args:
        student_shape, teacher_shape: without the batch, both (C, H, W) or both (C,).

    Raises:
        TrainingError: one is a map and the other a vector, or one is neither.

    >>> adapted, target = match_sizes(Adapter((16, 8, 8), (64, 4, 4))(student), teacher)  # doctest: +SKIP
    """

    def __init__(self, student_shape: Shape, teacher_shape: Shape):
        super().__init__()
        _check(student_shape, teacher_shape)
        inputs, outputs = student_shape[0], teacher_shape[0]
        self.project: nn.Conv2d | nn.Linear
        self.norm: nn.Module
        if len(student_shape) == 3:
            self.project, self.norm = nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        else:
            self.project, self.norm = nn.Linear(inputs, outputs), nn.Identity()

    def forward(self, student: Tensor) -> Tensor:
        """Project (N, C, H, W) or (N, C) to the teacher's channels.

        Raises:
            TrainingError: there is one value per channel in training, which has no variance.
        """
        if self.training and student.ndim == 4 and student.numel() == student.shape[1]:
            raise TrainingError(
                "an adapter's BatchNorm has one value per channel to take a variance of: use batches of two samples "
                "or more, or choose a layer of more positions"
            )
        return self.norm(self.project(student.to(self.project.weight.dtype)))


def match_sizes(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Pool both maps to the smaller height and the smaller width of the two, by adaptive averages.

    Args:
        student, teacher: (N, C, H, W) of any channels each; or (N, C), which are returned as they are.

    Raises:
        TrainingError: one is a map and the other a vector, or one is neither.
    """
    _check(tuple(student.shape[1:]), tuple(teacher.shape[1:]))
    if student.ndim == 2:
        return student, teacher
    size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    return _pooled(student, size), _pooled(teacher, size)


def _pooled(x: Tensor, size: tuple[int, int]) -> Tensor:
    return x if x.shape[2:] == size else F.adaptive_avg_pool2d(x, size)


def _check(student: Shape, teacher: Shape) -> None:
    if len(student) != len(teacher) or len(student) not in (1, 3):
        raise TrainingError(
            f"features of shape {student} of the student cannot be compared with {teacher} of the teacher: choose "
            "layers that both give maps (C, H, W), or both vectors (C,)"
        )
