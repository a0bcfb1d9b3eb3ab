"""The base class of stages: options, place in a recipe, and the description of their metrics.

Recipes and reports read stages without PyTorch: what a stage does with a network is in :mod:`edgekd.stages.work`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from pydantic import Field
from typing_extensions import Self

from edgekd.options import Budget, Target
from edgekd.strict_json import JsonObject
from edgekd.train.options import Train

if TYPE_CHECKING:
    from edgekd.tasks.task import Task

Form = Literal["float", "quantized"]


class Surroundings(Protocol):
    """The rest of a recipe, as far as a stage may depend on it."""

    @property
    def stages(self) -> "Sequence[Stage]": ...
    @property
    def targets(self) -> Sequence[Target]: ...
    @property
    def budget(self) -> Budget: ...
    @property
    def kind(self) -> "type[Task]": ...


class Stage(Train):
    """A step of a recipe: training on the teacher's logits and the labels.

    A stage is a subclass: its fields are the keys of its section in a recipe, and its docstring describes them.

    Attributes:
        name: in recipes, keys and logs.
        product: what reports call the network that the stage gives.
        version: goes up when the same input would give another output.
        takes: the forms of a network that it starts from.
        gives: the form of the network that it ends with.
        starts_from_random_weights: whether it may be the first to train a student.
        compares_with_teacher: whether it is given the teacher where it does not learn from it, too.
        shrinks: whether its network must not be slower than the one before.
        reshapes: options that change which network it gives, apart from those that say how far it is cut.
        described: the metrics that :meth:`describe` puts into words.
        newer: options that the stage's key covers only where they are no default: it gave the same without them before.
    """

    name: ClassVar[str]
    product: ClassVar[str]
    version: ClassVar[int] = 1
    takes: ClassVar[frozenset[Form]] = frozenset({"float"})
    gives: ClassVar[Form] = "float"
    starts_from_random_weights: ClassVar[bool] = False
    compares_with_teacher: ClassVar[bool] = False
    shrinks: ClassVar[bool] = False
    reshapes: ClassVar[frozenset[str]] = frozenset()
    described: ClassVar[frozenset[str]] = frozenset()
    newer: ClassVar[frozenset[str]] = frozenset({"fuse_teacher", "quantize_teacher"})

    temperature: float = Field(default=4.0, gt=0, description="softens the logits of teacher and student")
    hard_weight: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="weight of the loss on the labels; the teacher's has the rest; 0.5 by default for values and boxes",
    )
    fuse_teacher: bool = Field(
        default=False, description="fold the teacher's BatchNorm into its convolutions: faster, with other last bits"
    )
    quantize_teacher: bool = Field(
        default=False,
        description="run the teacher in int8 where it predicts 99.5 % of the validation samples alike, else fused",
    )

    @property
    def learns_from_teacher(self) -> bool:
        """Return whether the teacher's logits are learned from."""
        return True

    @property
    def times_networks(self) -> bool:
        """Return whether its work times networks on the first target, whose times tell nothing beside a training."""
        return False

    @property
    def train_options(self) -> Train | None:
        """Return how the network is trained, or None where it is not."""
        return self

    @property
    def passes(self) -> int:
        """Return how often its training goes through the training samples."""
        return self.epochs

    @property
    def kept_views(self) -> int:
        """Return on how many views of the training samples the teacher's outputs are computed once and kept."""
        return 0

    @property
    def teacher_passes(self) -> int:
        """Return how often the teacher itself goes through the training samples while the stage trains."""
        return self.passes if self.learns_from_teacher and not self.kept_views else 0

    def settings(self) -> JsonObject:
        """Return the options that the stage's content key depends on, as JSON."""
        known, fields = self.model_dump(mode="json"), type(self).model_fields
        left_out = {name for name in self.newer if known[name] == fields[name].default}
        return {name: value for name, value in known.items() if name not in left_out}

    def trained_for(self, steps_per_epoch: int, hard_weight: float) -> Self:
        """Return the stage with what its training takes by default: on data of so many steps in an epoch, for a task.

        What the recipe gives stays.

        Args:
            hard_weight: the task's, for stages that learn from the teacher.
        """
        is_given = "hard_weight" in self.model_fields_set or not self.learns_from_teacher
        return self if is_given else self.model_copy(update={"hard_weight": hard_weight})

    def quantizes_for(self, targets: Sequence[Target]) -> str | None:
        """Return the profile that the stage quantises for, or None if it leaves the precision as it is."""
        return None

    @staticmethod
    def describe(metrics: JsonObject) -> list[tuple[str, str]]:
        """Return headings and texts for the metrics in :attr:`described`."""
        return []
