"""The options of data: a recipe's section ``data``."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator
from typing_extensions import Self

from edgekd.data.augment import AUGMENTATIONS
from edgekd.data.sources import SOURCES
from edgekd.nearest import among, nearest
from edgekd.options import FilePath, Mistake, Registered, Section, Text
from edgekd.pixels import why_no_scale

SHARE_OF_TRAIN, SHARE_OF_TEST = 0.1, 0.5
FUNCTION = re.compile(r".+\.py:[A-Za-z_]\w*")


class Data(Section):
    """Where samples come from and how they are prepared."""

    source: Text = Field(description=f"one of {', '.join(SOURCES)}, or 'path.py:function'")
    path: FilePath | None = Field(default=None, description="the folder or file of the data; downloads go there too")
    args: dict[str, Any] = Field(default={}, description="arguments of the function that 'path.py:function' names")
    image_size: int | None = Field(default=None, ge=4, le=8192, description="side in pixels that images are resized to")
    resize: Literal["stretch", "letterbox"] = Field(
        default="stretch",
        description="how: 'letterbox' keeps the aspect ratio and centres images on grey, in bundles too",
    )
    grayscale: bool | None = Field(default=None, description="one channel instead of three")
    batch_size: int = Field(default=128, ge=1, description="samples per training step")
    augment: tuple[Annotated[str, Registered(AUGMENTATIONS)], ...] = Field(
        default=(), strict=False, description="random changes to training images"
    )
    validation: float | None = Field(
        default=None,
        gt=0,
        le=0.5,
        description="share of samples held out to choose by; when left out, those that the data have for it, or else "
        f"{SHARE_OF_TRAIN} of the training samples",
    )
    validation_of: Literal["train", "test"] = Field(
        default="train",
        description="the samples that they are held out of: test where networks have seen all training samples, "
        f"{SHARE_OF_TEST} of it when validation is left out",
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

    open: dict[str, Annotated[tuple[Text | None, ...], Field(strict=False)]] | None = Field(
        default=None,
        description="of several inputs by name: names for the axes behind the batch whose size differs from call to "
        "call, null for others, such as [length]",
    )
    open_sizes: dict[str, Annotated[tuple[PositiveInt, PositiveInt], Field(strict=False)]] | None = Field(
        default=None,
        description="by name of such an axis, its least and its largest size, such as [1, 128]; any when left out, for "
        "which TensorRT builds no engine",
    )
    unlabelled: FilePath | None = Field(
        default=None, description="a folder of images without labels, in it or deeper, to train on too"
    )
    unlabelled_share: float | None = Field(
        default=None, gt=0, lt=1, description="share of each batch that has no label; all are mixed when left out"
    )

    @property
    def takes_given_validation(self) -> bool:
        """Return whether validation samples are those that the data have, if they have any."""
        return self.validation is None and self.validation_of == "train"

    @field_validator("source")
    @classmethod
    def known_source(cls, source: str) -> str:
        """Refuse a source that is neither registered nor a function of the user's."""
        if source in SOURCES or FUNCTION.fullmatch(source):
            return source
        known = among(source, SOURCES, "docs/recipes.md has all")
        raise Mistake(f"unknown source {source!r}{known}; your own is written path.py:function")

    @model_validator(mode="after")
    def consistent(self) -> Self:
        """Refuse keys that do not go together."""
        source = SOURCES.get(self.source)
        if source and source.needs_path and self.path is None:
            raise Mistake(f"source {self.source} needs path: the folder or file to read", "source")
        if self.args and source:
            raise Mistake(f"only a source 'path.py:function' takes args, {self.source} does not", "args")
        if (self.mean is None) != (self.std is None):
            raise Mistake("mean and std go together; give both or neither", "mean" if self.mean else "std")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise Mistake(f"{len(self.std)} values, but mean has {len(self.mean)}; give one per channel", "std")
        is_images = source is not None and source.images
        if is_images and self.mean and self.std and (why := why_no_scale(self.mean, self.std)):
            raise Mistake(why, "mean" if why_no_scale(self.mean, (1,)) else "std")
        return self

    @model_validator(mode="after")
    def bounds_open_axes(self) -> Self:
        """Refuse bounds of axes that are not open, or that no size is within."""
        names = {each for axes in (self.open or {}).values() for each in axes if each is not None}
        for name, (least, most) in (self.open_sizes or {}).items():
            if name not in names:
                known = f"open names {', '.join(sorted(names))}" if names else "open names none"
                raise Mistake(f"no axis is called {name!r}{nearest(name, names)}; {known}", "open_sizes", name)
            if least > most:
                raise Mistake(f"the least size, {least}, is above the largest, {most}", "open_sizes", name)
        return self

    @model_validator(mode="after")
    def shares_batches(self) -> Self:
        """Refuse a share of unlabelled samples that no batch can have."""
        if self.unlabelled_share is not None and self.unlabelled is None:
            raise Mistake("there are no unlabelled images; give unlabelled, a folder of them", "unlabelled_share")
        if self.unlabelled_share is not None and self.batch_size < 2:
            raise Mistake("a batch of 1 cannot be shared; raise batch_size", "unlabelled_share")
        return self
