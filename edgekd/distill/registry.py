"""The registry of distillation losses, and their interfaces."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from edgekd.errors import TrainingError
from edgekd.registry import Registry
from edgekd.tasks.signature import Shape, Signature


class LogitLoss(nn.Module):
    """A loss of a student's and a teacher's logits.

    A loss with a ``temperature`` reads it at each call, so that a schedule may change it.

    Attributes:
        outputs: the kinds of outputs that it compares, see :class:`edgekd.tasks.signature.TensorSpec`; None for any.
    """

    outputs: ClassVar[frozenset[str] | None] = frozenset({"classes"})
    temperature: float

    def check(self, student: nn.Module, teacher: nn.Module, inputs: Shape | Signature) -> None:
        """Refuse two networks whose outputs the loss cannot compare, before they are trained: EdgekdError.

        Args:
            inputs: the shape of one input, without the batch; or a signature.
        """

    def forward(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None = None) -> Tensor:
        """Compute the loss, a scalar of at least 0, in float32 at least.

        Args:
            student_logits, teacher_logits: (N, classes).
            labels: (N,), for losses that use them; below 0 for a sample without a label. Without labels, and for such
                samples, the teacher's prediction replaces the label.
        """
        raise NotImplementedError


class OutputLoss(LogitLoss):
    """A loss of all outputs of a student and of a teacher, by name; of logits alone without ``compares_all``."""

    outputs: ClassVar[frozenset[str] | None] = None
    compares_all = True

    def compare(self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], labels: Tensor | None) -> Tensor:
        """Compute the loss, a scalar of at least 0, in float32 at least.

        Args:
            student, teacher: the outputs (N, ...) by name.
            labels: (N, ...), targets as data sets store them.
        """
        raise NotImplementedError


class FeatureLoss(nn.Module):
    """A loss of a student's and a teacher's features at paired layers.

    Its own parameters, such as those of adapters, are trained along with the student's and dropped after.

    Args:
        student_shapes, teacher_shapes: shapes of the features without the batch, (C, H, W) or (C,), pair by pair in
            order of depth.
        samples: number of samples in the training set, for losses that store one vector for each.

    Raises:
        TrainingError: the method cannot compare such shapes.
    """

    weight: ClassVar[float] = 1.0
    """The default weight: RepDistiller's, for a cross-entropy of weight 1."""

    def __init__(self, student_shapes: Sequence[Shape], teacher_shapes: Sequence[Shape], *, samples: int = 0):
        super().__init__()
        if not student_shapes or len(student_shapes) != len(teacher_shapes):
            raise TrainingError(
                f"features come in pairs, and there are {len(student_shapes)} of the student and "
                f"{len(teacher_shapes)} of the teacher: name one layer of each for every pair"
            )
        self.student_shapes, self.teacher_shapes, self.samples = tuple(student_shapes), tuple(teacher_shapes), samples

    @classmethod
    def default_layers(cls, shapes: Sequence[Shape]) -> list[int]:
        """Return the indices of the layers to compare by default, given all ``shapes`` in order of depth: all maps."""
        return [index for index, shape in enumerate(shapes) if len(shape) == 3]

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], indices: Tensor | None = None) -> Tensor:
        """Compute the loss, a scalar of at least 0, in float32 at least: the mean over the pairs if the paper has one.

        Args:
            student, teacher: the features, (N, *shape) each, in the order of the shapes.
            indices: (N,), the samples' indices in the training set, for losses that store vectors.
        """
        raise NotImplementedError


LOSSES: Registry[type[LogitLoss | FeatureLoss]] = Registry("distillation method", TrainingError)
