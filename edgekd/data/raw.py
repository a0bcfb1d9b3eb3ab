"""From a recipe's section ``data`` to raw samples: the keys that sources read, and what they give."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgekd.data.samples import Samples
    from edgekd.preprocess import Resize


class SourceKeys(Protocol):
    """The keys that sources read. :class:`edgekd.data.options.Data` has them among others."""

    @property
    def source(self) -> str: ...
    @property
    def path(self) -> Path | None: ...
    @property
    def image_size(self) -> int | None: ...
    @property
    def resize(self) -> Resize: ...
    @property
    def grayscale(self) -> bool | None: ...
    @property
    def in_memory(self) -> bool | None: ...
    @property
    def workers(self) -> int: ...
    @property
    def download(self) -> bool: ...
    @property
    def validation_of(self) -> str: ...
    @property
    def takes_given_validation(self) -> bool: ...


@dataclass(frozen=True, eq=False)
class RawData:
    """Training and test samples as a source has them, before any split or scaling.

    Attributes:
        validation: where the source has such samples, and the recipe holds none out of others.
        kind: images and vectors are scaled; several tensors by name are what a network takes.
        shape: of an image or a vector; empty where there are several tensors.
        decoder: options of the task that the source knows, such as the ids of its classes.
    """

    train: Samples
    test: Samples
    classes: tuple[str, ...]
    kind: Literal["image", "vector", "tensors"]
    shape: tuple[int, ...]
    decoder: Mapping[str, object] = field(default_factory=dict)
    validation: Samples | None = None
