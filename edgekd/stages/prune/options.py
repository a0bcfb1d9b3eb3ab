"""The options of pruning."""

import math
from typing import Annotated, ClassVar

from pydantic import Field, model_validator
from typing_extensions import Self

from edgekd.options import Mistake, Registered, Text
from edgekd.prune.reduction import REDUCTIONS
from edgekd.prune.schedule import SCHEDULES as CUT_SCHEDULES
from edgekd.prune.scope import SCOPES
from edgekd.stages.prune.words import describe
from edgekd.stages.stage import Stage

# Of a recovery whose length the recipe leaves open: on a small set some epochs are too few steps.
LEAST_STEPS = 300
GOALS = ("macs", "params", "size", "latency", "accuracy_drop", "drop")


class Prune(Stage):
    """Take whole channels out, then train what is left."""

    name: ClassVar[str] = "prune"
    product: ClassVar[str] = "pruned"
    version: ClassVar[int] = 7
    compares_with_teacher: ClassVar[bool] = True
    shrinks: ClassVar[bool] = True
    reshapes: ClassVar[frozenset[str]] = frozenset({"scope", "round_to", "max_ratio", "ignore"})
    described: ClassVar[frozenset[str]] = frozenset(
        {"cuts", "kept", "sensitivity", "sensitivity_of", "floor", "least_depth"}
    )
    newer: ClassVar[frozenset[str]] = Stage.newer | {"drop"}

    epochs: int = Field(
        default=5,
        ge=0,
        description="passes over the training samples after the last cut; when left out, 5, and more where these are "
        "fewer than 300 steps",
    )
    lr: float = Field(default=0.02, gt=0, description="highest learning rate")
    macs: float | None = Field(default=None, gt=0, lt=1, description="share of the multiply-accumulates to keep")
    params: float | None = Field(default=None, gt=0, lt=1, description="share of the parameters to keep")
    size: float | None = Field(default=None, gt=0, lt=1, description="share of the tensors' bytes to keep")
    latency: float | None = Field(
        default=None, gt=0, lt=1, description="share of the latency to keep, measured on the first target"
    )
    accuracy_drop: float | None = Field(
        default=None, ge=0, description="points of validation accuracy that may go, for a network as small as it gets"
    )
    drop: float | None = Field(
        default=None, ge=0, description="the same of the task's first metric, in points or in the metric's own unit"
    )
    depth: float | None = Field(
        default=None, gt=0, lt=1, description="share of the multiply-accumulates to keep by dropping residual blocks"
    )
    importance: Text = Field(default="group_magnitude", description="what ranks the channels")
    importance_batches: int = Field(default=8, ge=1, description="training batches for importances by gradients")
    reduction: Annotated[str, Registered(REDUCTIONS)] | None = Field(
        default=None, description="over the layers of channels that go together; the importance's own when left out"
    )
    scope: Annotated[str, Registered(SCOPES)] = Field(
        default="paths",
        description="what decides between layers: the paths that are left, or a threshold for the scores of the whole "
        "network, of each layer, or of groups of one topology",
    )
    sensitivity: int | None = Field(
        default=None,
        ge=1,
        description="how many cuts of single groups are tried, the largest groups first, to rank by what they cost",
    )
    round_to: int | None = Field(
        default=None, ge=1, description="keep channel counts a multiple of this; the runtime's own when left out"
    )
    max_ratio: float = Field(default=0.9, gt=0, lt=1, description="largest share of a layer's channels that may go")
    ignore: tuple[str, ...] = Field(default=(), strict=False, description="layers left as they are, by name")
    steps: int | None = Field(
        default=None, ge=1, description="cuts on the way, 1 when left out; with a drop those tried at most, 8"
    )
    cut_schedule: Annotated[str, Registered(CUT_SCHEDULES)] = Field(
        default="cubic", description="how far each of the steps goes"
    )
    step_epochs: int = Field(default=1, ge=0, description="passes over the training samples between the steps")
    batchnorm_batches: int = Field(
        default=16, ge=0, description="batches to estimate BatchNorm's statistics from after each cut; 0 leaves them"
    )
    rewind: int | None = Field(
        default=None, ge=1, description="epochs of the training whose last learning rates are gone through again"
    )
    sparse: float | None = Field(
        default=None, gt=0, description="strength of the group norm in a training before the first cut"
    )
    sparse_epochs: int = Field(default=5, ge=1, description="passes of that training")
    check_latency: bool = Field(
        default=True, description="time the cut network where a target is here; widths that make it slower are changed"
    )
    teacher: bool = Field(default=True, description="keep the teacher while training")

    @property
    def goal(self) -> str | None:
        """Return the key that says how far channels are cut."""
        return next((name for name in GOALS if getattr(self, name) is not None), None)

    @property
    def times_networks(self) -> bool:
        """Return whether cuts, or the layers that sensitivities are weighed by, are timed on the first target."""
        return self.check_latency or self.latency is not None or self.sensitivity is not None

    @property
    def largest_drop(self) -> float | None:
        """Return how much worse the task's first metric may get, where that is the goal."""
        return self.drop if self.accuracy_drop is None else self.accuracy_drop

    @model_validator(mode="after")
    def one_goal(self) -> Self:
        given = [name for name in GOALS if getattr(self, name) is not None]
        if not given and self.depth is None:
            raise Mistake(
                f"nothing says how far to prune; give {', '.join(GOALS[:-1])}, {GOALS[-1]} or depth, "
                "e.g. macs: 0.5, the share to keep"
            )
        if len(given) > 1:
            raise Mistake(f"{given[0]} and {given[1]} exclude each other; give one of the two", given[1])
        return self

    @model_validator(mode="after")
    def rewinds_far_enough(self) -> Self:
        longest = max(self.epochs, self.step_epochs)
        if self.rewind is not None and self.rewind < longest:
            raise Mistake(
                f"a training of {self.rewind} epochs has no last {longest}; give the epochs of the training that made "
                "the network, and its lr and schedule",
                "rewind",
            )
        return self

    def trained_for(self, steps_per_epoch: int, hard_weight: float) -> Self:
        """Return the stage with as many epochs as give 300 steps, where the recipe leaves their number out."""
        wanted = max(self.epochs, math.ceil(LEAST_STEPS / steps_per_epoch))
        epochs = wanted if self.rewind is None else min(wanted, self.rewind)
        found = super().trained_for(steps_per_epoch, hard_weight)
        return found if "epochs" in self.model_fields_set else found.model_copy(update={"epochs": epochs})

    @property
    def passes(self) -> int:
        """Return how often its trainings go through the training samples, those between cuts included."""
        between = (self.steps or 1) - 1 + (self.depth is not None) if self.goal else 0
        return self.epochs + between * self.step_epochs + (self.sparse_epochs if self.sparse else 0)

    @property
    def learns_from_teacher(self) -> bool:
        """Return whether the teacher's logits are learned from."""
        return self.teacher

    describe = staticmethod(describe)
