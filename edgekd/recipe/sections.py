"""A recipe's sections for networks. Descriptions feed the JSON Schema and the messages."""

from typing import Annotated, Any

from pydantic import Field, NonNegativeFloat, model_validator
from typing_extensions import Self

from edgekd.distill.combination import COMBINATIONS
from edgekd.options import FilePath, Mistake, Registered, Section, Text
from edgekd.train.options import Train

NO_HEAD = "there is no checkpoint whose last layer could be left out; give checkpoint, or leave new_head out"
CHECKPOINT_KEY = "which of several networks' weights in the file, such as state_dict; the averaged ones when left out"


def _need_a_checkpoint(section: Any) -> None:
    if section.checkpoint is None and section.new_head:
        raise Mistake(NO_HEAD, "new_head")
    if section.checkpoint is None and section.checkpoint_key is not None:
        raise Mistake("there is no checkpoint to choose from; give checkpoint, or leave this out", "checkpoint_key")


class FurtherTeacher(Section):
    """A network that teaches together with the one to compress."""

    model: Text = Field(description="a built-in network, torchvision/NAME, timm/NAME, or 'path.py:function'")
    args: dict[str, Any] = Field(default={}, description="arguments of the network's builder")
    checkpoint: FilePath | None = Field(default=None, description="file with its weights")
    checkpoint_key: Text | None = Field(default=None, description=CHECKPOINT_KEY)
    new_head: bool = Field(
        default=False, description="the checkpoint is of another number of classes: its last layer is left out"
    )
    train: Train | None = Field(
        default=None, description="how to train it, from the checkpoint's weights where there is one"
    )

    @model_validator(mode="after")
    def has_weights(self) -> Self:
        """Refuse a teacher that has not learned anything."""
        if self.checkpoint is None and self.train is None:
            raise Mistake(
                "no weights; give checkpoint (a file) or train (how to train it; "
                "epochs: 0 takes the network as its builder returns it)"
            )
        _need_a_checkpoint(self)
        if self.new_head and self.train is None:
            raise Mistake("the new last layer has random weights; give train, which trains it", "new_head")
        return self


class Teacher(FurtherTeacher):
    """The network to compress."""

    others: tuple[FurtherTeacher, ...] = Field(
        default=(),
        strict=False,
        description="further teachers; the student learns from all their predictions, combined",
    )
    combine: Annotated[str, Registered(COMBINATIONS)] = Field(
        default="mean", description="their probabilities' mean, or for each sample those of the surest teacher"
    )
    weights: tuple[NonNegativeFloat, ...] | None = Field(
        default=None, strict=False, description="of this teacher and the others in the mean; equal when left out"
    )

    @model_validator(mode="after")
    def combines(self) -> Self:
        """Refuse ways to combine teachers that there are not."""
        if self.combine != "mean" and not self.others:
            raise Mistake("there is one teacher only; give others, or leave combine out", "combine")
        if self.weights is None:
            return self
        if not COMBINATIONS[self.combine].weighted:
            why = f"weights are of a mean, and {self.combine} chooses one teacher; leave weights out"
            raise Mistake(why, "weights")
        if len(self.weights) != 1 + len(self.others):
            raise Mistake(
                f"{len(self.weights)} for {1 + len(self.others)} teachers; give one for this teacher and one for each "
                "of the others",
                "weights",
            )
        if not sum(self.weights):
            raise Mistake("all are 0; give one of them above", "weights")
        return self


class Student(Section):
    """The smaller network that learns from the teacher."""

    model: Text = Field(description="a built-in network, torchvision/NAME, timm/NAME, or 'path.py:function'")
    args: dict[str, Any] = Field(default={}, description="arguments of the network's builder")
    checkpoint: FilePath | None = Field(default=None, description="file with its weights; random weights when left out")
    checkpoint_key: Text | None = Field(default=None, description=CHECKPOINT_KEY)
    new_head: bool = Field(
        default=False, description="the checkpoint is of another number of classes: its last layer is left out"
    )

    @model_validator(mode="after")
    def has_a_checkpoint_to_choose_from(self) -> Self:
        """Refuse options of a checkpoint if there is none."""
        _need_a_checkpoint(self)
        return self
