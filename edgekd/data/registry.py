"""What a source of data hands over: raw training and test samples, before any split or scaling."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edgekd.data.samples import Samples
from edgekd.errors import DataError
from edgekd.options import Data
from edgekd.registry import Registry


@dataclass(frozen=True, eq=False)
class Source:
    train: Samples
    test: Samples
    classes: tuple[str, ...]
    kind: Literal["image", "vector"]
    shape: tuple[int, ...]


SOURCES: Registry[Callable[[Data], Source]] = Registry("data source", DataError)
