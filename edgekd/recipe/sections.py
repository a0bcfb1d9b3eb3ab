"""The sections of a recipe that are not stages. Descriptions feed the JSON Schema and the messages."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    Strict,
    field_validator,
    model_validator,
)
from typing_extensions import Self

from edgekd.pixels import why_no_scale
from edgekd.registry import nearest

SOURCES = ("digits", "breast_cancer", "folder", "npz", "mnist", "fashion_mnist", "cifar10", "cifar100")
SOURCES_WITH_PATH = ("folder", "npz")
IMAGE_SOURCES = tuple(source for source in SOURCES if source not in ("breast_cancer", "npz"))
NO_HEAD = "there is no checkpoint whose last layer could be left out; give checkpoint, or leave new_head out"
CHECKPOINT_KEY = "which of several networks' weights in the file, such as state_dict; the averaged ones when left out"
FUNCTION = re.compile(r".+\.py:[A-Za-z_]\w*")

# Strict everywhere: YAML already has types, and `epochs: true` must not mean 1.
FilePath = Annotated[Path, Strict(False)]
Text = Annotated[str, Field(min_length=1)]


class Mistake(ValueError):
    """A rule that a section breaks, and ``at`` which key or item of the section."""

    def __init__(self, message: str, *at: str | int):
        super().__init__(message)
        self.at = at


class Section(BaseModel):
    """A mapping of a recipe: frozen, without unknown keys, types as written."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def _need_a_checkpoint(section: Any) -> None:
    if section.checkpoint is None and section.new_head:
        raise Mistake(NO_HEAD, "new_head")
    if section.checkpoint is None and section.checkpoint_key is not None:
        raise Mistake("there is no checkpoint to choose from; give checkpoint, or leave this out", "checkpoint_key")


class Data(Section):
    """Where samples come from and how they are prepared."""

    source: Text = Field(description=f"one of {', '.join(SOURCES)}, or 'path.py:function'")
    path: FilePath | None = Field(default=None, description="the folder or file of the data; downloads go there too")
    args: dict[str, Any] = Field(default={}, description="arguments of the function that 'path.py:function' names")
    image_size: int | None = Field(default=None, ge=4, le=8192, description="side in pixels that images are resized to")
    grayscale: bool | None = Field(default=None, description="one channel instead of three")
    batch_size: int = Field(default=128, ge=1, description="samples per training step")
    augment: tuple[Literal["crop", "flip"], ...] = Field(
        default=(), strict=False, description="random changes to training images"
    )
    validation: float = Field(
        default=0.1, gt=0, lt=0.5, description="share of the training samples held out to choose by"
    )
    mean: tuple[float, ...] | None = Field(
        default=None, strict=False, min_length=1, description="per channel, of pixels in 0..1"
    )
    std: tuple[PositiveFloat, ...] | None = Field(
        default=None, strict=False, min_length=1, description="per channel, of pixels in 0..1"
    )
    in_memory: bool | None = Field(default=None, description="keep decoded samples in memory; by size when left out")
    workers: int = Field(default=2, ge=0, description="processes that load samples")
    download: bool = Field(default=True, description="fetch a public data set that is not there yet")
    train_limit: int | None = Field(default=None, ge=1, description="use only so many training samples")
    test_limit: int | None = Field(default=None, ge=1, description="use only so many test samples")

    unlabelled: FilePath | None = Field(
        default=None, description="a folder of images without labels, in it or deeper, to train on too"
    )
    unlabelled_share: float | None = Field(
        default=None, gt=0, lt=1, description="share of each batch that has no label; all are mixed when left out"
    )

    @field_validator("source")
    @classmethod
    def known_source(cls, source: str) -> str:
        if source in SOURCES or FUNCTION.fullmatch(source):
            return source
        raise Mistake(
            f"unknown source {source!r}{nearest(source, SOURCES)}; known: {', '.join(SOURCES)}, or 'path.py:function'"
        )

    @model_validator(mode="after")
    def consistent(self) -> Self:
        if self.source in SOURCES_WITH_PATH and self.path is None:
            raise Mistake(f"source {self.source} needs path: the folder or file to read", "source")
        if self.args and self.source in SOURCES:
            raise Mistake(f"only a source 'path.py:function' takes args, {self.source} does not", "args")
        if (self.mean is None) != (self.std is None):
            raise Mistake("mean and std go together; give both or neither", "mean" if self.mean else "std")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise Mistake(f"{len(self.std)} values, but mean has {len(self.mean)}; give one per channel", "std")
        if self.source in IMAGE_SOURCES and self.mean and self.std and (why := why_no_scale(self.mean, self.std)):
            raise Mistake(why, "mean" if why_no_scale(self.mean, (1,)) else "std")
        return self

    @model_validator(mode="after")
    def shares_batches(self) -> Self:
        if self.unlabelled_share is not None and self.unlabelled is None:
            raise Mistake("there are no unlabelled images; give unlabelled, a folder of them", "unlabelled_share")
        if self.unlabelled_share is not None and self.batch_size < 2:
            raise Mistake("a batch of 1 cannot be shared; raise batch_size", "unlabelled_share")
        return self


class Train(Section):
    """How a network is trained."""

    epochs: int = Field(default=10, ge=0, description="passes over the training samples")
    lr: float = Field(default=0.1, gt=0, description="highest learning rate")
    optimizer: Literal["sgd", "adamw"] = Field(default="sgd", description="what takes the steps")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of sgd")
    weight_decay: float = Field(default=5e-4, ge=0, description="weight decay")
    schedule: Literal["cosine", "one_cycle", "constant"] = Field(
        default="one_cycle", description="learning rate over the steps"
    )
    clip_norm: float | None = Field(default=None, gt=0, description="clip the gradient to this norm")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="share of each label spread over all classes")
    ema: float | None = Field(default=None, gt=0, lt=1, description="decay of the moving average of the weights")
    freeze: tuple[Text, ...] = Field(
        default=(), strict=False, description="layers that are not trained, by path patterns such as layer1.*"
    )
    train_only: tuple[Text, ...] = Field(
        default=(), strict=False, description="layers that are trained, by path patterns; all others are not"
    )
    unfreeze_every: int | None = Field(
        default=None, ge=1, description="train the last part alone at first, and after each so many epochs one more"
    )
    lr_decay: float = Field(
        default=1.0, gt=0, le=1, description="learning rate of each part of the network, over that of the next one"
    )
    l2_sp: float | None = Field(
        default=None,
        gt=0,
        description="strength of the pull to the first weights, in place of weight decay but in the last layer (L2-SP)",
    )


class FurtherTeacher(Section):
    """A network that teaches beside the one to compress."""

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
        default=(), strict=False, description="further teachers; the student learns what all of them answer as one"
    )
    combine: Literal["mean", "confidence"] = Field(
        default="mean", description="their probabilities' mean, or for each sample those of the surest teacher"
    )
    weights: tuple[NonNegativeFloat, ...] | None = Field(
        default=None, strict=False, description="of this teacher and the others in the mean; equal when left out"
    )

    @model_validator(mode="after")
    def combines(self) -> Self:
        if self.combine != "mean" and not self.others:
            raise Mistake("there is one teacher only; give others, or leave combine out", "combine")
        if self.weights is None:
            return self
        if self.combine == "confidence":
            raise Mistake("weights are of a mean, and confidence chooses one teacher; leave weights out", "weights")
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
        _need_a_checkpoint(self)
        return self


class Target(Section):
    """A device and the runtime on it."""

    device: Text = Field(
        default="cpu", description="cpu, or a device of the book; nothing is measured on one that is not there"
    )
    runtime: Literal["onnxruntime", "tensorrt"] = Field(
        default="onnxruntime", description="what runs the network there"
    )
    threads: int = Field(default=1, ge=1, description="threads that the runtime may use")
    architecture: Literal["x86_64", "aarch64"] | None = Field(
        default=None, description="of the device's processor, where the device is not in the book to be asked"
    )

    @property
    def place(self) -> tuple[str, str, int | None]:
        """What tells two targets apart: TensorRT has no threads, and a device one architecture."""
        return self.device, self.runtime, self.threads if self.runtime == "onnxruntime" else None


class Budget(Section):
    """What the student must keep to; a limit left out is not checked."""

    accuracy_drop: float | None = Field(
        default=None, description="points of accuracy that the student may lose to the teacher"
    )
    latency_ratio: float | None = Field(default=None, gt=0, description="student latency over teacher latency, at most")
    size_ratio: float | None = Field(default=None, gt=0, description="student size over teacher size, at most")
    latency_ms: float | None = Field(default=None, gt=0, description="student latency in milliseconds, at most")
    size_mb: float | None = Field(default=None, gt=0, description="student size in megabytes, at most")
