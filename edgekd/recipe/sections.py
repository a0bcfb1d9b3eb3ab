"""The sections of a recipe that are not stages. Descriptions feed the JSON Schema and the messages."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, Strict, field_validator, model_validator
from typing_extensions import Self

from edgekd.registry import nearest

SOURCES = ("digits", "breast_cancer", "folder", "npz", "mnist", "fashion_mnist", "cifar10", "cifar100")
SOURCES_WITH_PATH = ("folder", "npz")
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


class Data(Section):
    """Where samples come from and how they are prepared."""

    source: Text = Field(description=f"one of {', '.join(SOURCES)}, or 'path.py:function'")
    path: FilePath | None = Field(default=None, description="the folder or file of the data; downloads go there too")
    args: dict[str, Any] = Field(default={}, description="arguments of the function that 'path.py:function' names")
    image_size: int | None = Field(default=None, ge=4, description="side in pixels that images are resized to")
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


class Teacher(Section):
    """The network to compress."""

    model: Text = Field(description="a built-in network, torchvision/NAME, timm/NAME, or 'path.py:function'")
    args: dict[str, Any] = Field(default={}, description="arguments of the network's builder")
    checkpoint: FilePath | None = Field(default=None, description="file with its weights")
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
        return self


class Student(Section):
    """The smaller network that learns from the teacher."""

    model: Text = Field(description="a built-in network, torchvision/NAME, timm/NAME, or 'path.py:function'")
    args: dict[str, Any] = Field(default={}, description="arguments of the network's builder")
    checkpoint: FilePath | None = Field(default=None, description="file with its weights; random weights when left out")


class Target(Section):
    """A device and the runtime on it."""

    device: Text = Field(default="cpu", description="cpu; any other name is kept and reported as not measured")
    runtime: Literal["onnxruntime", "tensorrt"] = Field(
        default="onnxruntime", description="what runs the network there"
    )
    threads: int = Field(default=1, ge=1, description="threads that the runtime may use")


class Budget(Section):
    """What the student must keep to; a limit left out is not checked."""

    accuracy_drop: float | None = Field(
        default=None, description="points of accuracy that the student may lose to the teacher"
    )
    latency_ratio: float | None = Field(default=None, gt=0, description="student latency over teacher latency, at most")
    size_ratio: float | None = Field(default=None, gt=0, description="student size over teacher size, at most")
    latency_ms: float | None = Field(default=None, gt=0, description="student latency in milliseconds, at most")
    size_mb: float | None = Field(default=None, gt=0, description="student size in megabytes, at most")
