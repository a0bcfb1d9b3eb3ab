"""One tensor of a network: its name, shape, type and bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekd.errors import ModelError

if TYPE_CHECKING:
    from typing import Literal

    from torch import Generator, Tensor

    from edgekd.strict_json import JsonObject

# Of one sample, without the batch.
Shape = tuple[int, ...]

# What a network that takes and gives bare tensors calls them, in its files too.
INPUT, LOGITS = "input", "logits"
BATCH = "batch"
FLOATS = ("float32", "float16", "float64", "bfloat16")
INTEGERS = ("int64", "int32", "int16", "int8", "uint8")
DTYPES = (*FLOATS, *INTEGERS, "bool")
KINDS = ("classes", "labels", "values", "bins", "features")
UNBOUNDED = (-math.inf, math.inf)
# Whole numbers that a float holds exactly, and those of types that hold fewer.
EXACT = (-(2**53), 2**53)
RANGES = {
    **{"int32": (-(2**31), 2**31 - 1), "int16": (-(2**15), 2**15 - 1), "int8": (-128, 127)},
    **{"uint8": (0, 255), "bool": (0, 1)},
}


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a network.

    Attributes:
        name: also its name in the ONNX file and in the bundle.
        shape: of one sample; a str is a named open dimension.
        dtype: one of ``DTYPES``.
        bounds: the least and the largest value that examples, benchmarks and self-tests may hold; ``UNBOUNDED`` for
            values around 0 such as normalised pixels.
        kind: of an output: scores of classes of which one holds, of labels of which any hold, values, bins, features.
        axis: where the classes, labels or bins of an output lie, in ``shape``.

    Raises:
        ModelError: a value is of another type or out of range.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str = "float32"
    bounds: tuple[float, float] = (0.0, 1.0)
    kind: Literal["classes", "labels", "values", "bins", "features"] | None = None
    axis: int | None = None

    def __post_init__(self) -> None:
        checks = {
            "name": isinstance(self.name, str) and 0 < len(self.name) <= 200 and self.name.isprintable(),
            "shape": all(is_dimension(each) for each in self.shape),
            "dtype": self.dtype in DTYPES,
            "bounds": self._has_bounds(),
            "kind": self.kind is None or self.kind in KINDS,
            "axis": self.axis is None or (type(self.axis) is int and -len(self.shape) <= self.axis < len(self.shape)),
        }
        for name, holds in checks.items():
            if not holds:
                raise ModelError(
                    f"tensor {str(self.name)[:60]!r} of a signature cannot have {name} {getattr(self, name)!r}: "
                    f"{EXPECTED[name]}"
                )

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    def example(self, shape: Shape, like: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """Make a tensor of ``shape``, see :meth:`edgekd.tasks.signature.Signature.example`."""
        import torch

        low, high = self.bounds
        dtype = getattr(torch, self.dtype)
        if generator is None:
            nearest_to_0 = min(max(0.0, low), high)
            made = torch.full(shape, nearest_to_0 if self.is_float else int(nearest_to_0), dtype=dtype)
        elif not self.is_float:
            made = torch.randint(math.ceil(low), math.floor(high) + 1, shape, generator=generator).to(dtype)
        elif math.isinf(high - low):
            made = torch.randn(shape, generator=generator).clamp(low, high).to(dtype)
        else:
            made = (torch.rand(shape, generator=generator) * (high - low) + low).to(dtype)
        if like is None:
            return made
        return made.to(like.device, like.dtype if self.dtype == "float32" and like.is_floating_point() else dtype)

    def to_json(self) -> JsonObject:
        bounds = [None if math.isinf(each) else each for each in self.bounds]
        return {**vars(self), "shape": list(self.shape), "bounds": bounds}

    @classmethod
    def from_json(cls, document: JsonObject) -> TensorSpec:
        """Read what :meth:`to_json` gives: ModelError, ValueError, KeyError or TypeError if it is none."""
        low, high = document["bounds"]
        bounds = (-math.inf if low is None else low, math.inf if high is None else high)
        return cls(**{**document, "shape": tuple(document["shape"]), "bounds": bounds})

    def _has_bounds(self) -> bool:
        if len(self.bounds) != 2 or not all(map(_is_number, self.bounds)):
            return False
        low, high = self.bounds
        least, largest = UNBOUNDED if self.is_float else RANGES.get(str(self.dtype), EXACT)
        return least <= low <= high <= largest


EXPECTED = {
    "name": "give a text of 1 to 200 printable characters",
    "shape": f"give sizes from 1, or names of open dimensions other than {BATCH!r}, for one sample without its batch",
    "dtype": f"give one of {', '.join(DTYPES)}",
    "bounds": "give the least and the largest value, for integers within the range of their type",
    "kind": f"give one of {', '.join(KINDS)}, or none",
    "axis": "give an index into the shape, or none",
}


def is_dimension(size: object) -> bool:
    """Return whether ``size`` is of a dimension: a number from 1, or the name of an open one."""
    if isinstance(size, str):
        return size.isidentifier() and size != BATCH and len(size) <= 100
    return type(size) is int and 0 < size < 2**31


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)
