"""The options of distillation."""

from typing import Annotated, Any, ClassVar

from pydantic import Field, Strict, model_validator
from typing_extensions import Self

from edgekd.distill.schedule import FORMS
from edgekd.options import Mistake, Registered, Section, Text
from edgekd.stages.stage import Stage

# A student's layer and the teacher's.
Pair = Annotated[tuple[Text, Text], Strict(False)]


class ScheduleOptions(Section):
    """A value that changes over the training."""

    form: Annotated[str, Registered(FORMS)] = Field(default="linear", description="how it changes")
    start: float = Field(ge=0, description="the value at first")
    end: float = Field(ge=0, description="the value from `until` on")
    until: float = Field(default=1.0, gt=0, le=1, description="share of the training at which the end is reached")


class Loss(Section):
    """One loss of a distillation."""

    method: Text = Field(description="the distillation loss")
    weight: float | None = Field(default=None, ge=0, description="its weight; the method's usual one when left out")
    weight_schedule: ScheduleOptions | None = Field(default=None, description="in place of a fixed weight")
    options: dict[str, Any] = Field(default={}, description="of the loss, by the names of its arguments")
    standardize: bool = Field(default=False, description="compare logits of mean 0 and deviation 1")
    pairs: tuple[Pair, ...] | None = Field(
        default=None, strict=False, description="[student, teacher] layers that are compared; found when left out"
    )


class Distill(Stage, Loss):
    """Train the student to predict as the teacher does."""

    name: ClassVar[str] = "distill"
    product: ClassVar[str] = "distilled"
    version: ClassVar[int] = 3
    starts_from_random_weights: ClassVar[bool] = True

    method: Text = Field(default="kd", description="the distillation loss")
    also: tuple[Loss, ...] = Field(default=(), strict=False, description="further losses, with their weights")
    balance: bool = Field(default=False, description="bring the gradients of all losses to the size of the first one's")
    views: int | None = Field(
        default=None, ge=1, description="train on so many fixed augmented views of each image, a new one in each epoch"
    )
    cache: bool = Field(
        default=True, description="with views, compute the teacher's outputs once and keep them on disk"
    )
    temperature_schedule: ScheduleOptions | None = Field(default=None, description="in place of a fixed temperature")
    hard_weight_schedule: ScheduleOptions | None = Field(default=None, description="in place of a fixed hard_weight")
    generations: int = Field(
        default=1, ge=1, description="train so often from the same weights, each time with the last result as teacher"
    )

    @property
    def passes(self) -> int:
        """Return how often its training goes through the training samples, all generations together."""
        return self.epochs * self.generations

    @property
    def kept_views(self) -> int:
        """Return on how many views of the training samples the teacher's outputs are computed once and kept."""
        return self.views if self.cache and self.views else 0

    @model_validator(mode="after")
    def schedules_stay_in_range(self) -> Self:
        softened, hard = self.temperature_schedule, self.hard_weight_schedule
        if softened is not None and not min(softened.start, softened.end) > 0:
            raise Mistake("a temperature is above 0; give start and end above 0", "temperature_schedule")
        if hard is not None and max(hard.start, hard.end) > 1:
            raise Mistake("a weight of the labels is in 0..1; give start and end of at most 1", "hard_weight_schedule")
        return self
