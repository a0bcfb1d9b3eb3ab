"""Inputs of a file's examples: sizes of open dimensions, and values, from its signature where it has one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekd.errors import MeasurementError, first_line
from edgekd.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from edgekd.agent.workload import Workload

SIGNATURE = "edgekd.signature"


@dataclass(frozen=True)
class Declared:
    """An input as a file declares it; of its ``dims`` a str is open and named, None is open without a name."""

    name: str
    dims: Sequence[int | str | None]
    dtype: str = "float32"


@dataclass(frozen=True)
class Usual:
    """Sizes of open dimensions and bounds of values in examples, from a file's signature."""

    sizes: Mapping[str, int]
    bounds: Mapping[str, tuple[float, float]]

    @classmethod
    def in_metadata(cls, metadata: Mapping[str, str], model: str) -> Usual:
        """Read the metadata of an ONNX file.

        Raises:
            MeasurementError: the signature in it is damaged.
        """
        try:
            signature = json.loads(metadata.get(SIGNATURE, "{}"))
            sizes = {str(each["name"]): int(each["size"]) for each in signature.get("open", ())}
            # Without bounds a value is drawn as of a file that has no signature.
            bounds = {str(each["name"]): (float(each["bounds"][0]), float(each["bounds"][1]))
                      for each in signature.get("inputs", ()) if None not in each["bounds"]}  # fmt: skip
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise MeasurementError(
                f"{model}: the signature in the file's metadata is damaged ({first_line(error)}); export it again"
            ) from error
        return cls(sizes, bounds)


NOTHING = Usual({}, {})


@dataclass(frozen=True)
class Examples:
    """Values for every input by its name, the sizes chosen for open dimensions, and the batch in force."""

    feeds: dict[str, np.ndarray[Any, Any]]
    sizes: dict[str, int]
    batch: int


def make_examples(
    inputs: Sequence[Declared], workload: Workload, batch: int = 1, seed: int = 0, usual: Usual = NOTHING
) -> Examples:
    """Draw values for all inputs from ``seed``.

    The batch is the one that the first input or the workload's shape fixes, else ``batch``.

    Raises:
        MeasurementError: a dimension stays open, a size is given for one that is not, or the file fixes another batch.
    """
    import numpy as np

    sizes = open_sizes(inputs, workload, usual)
    batch = batch_in_force(inputs[0], workload, batch, sizes) if inputs else batch
    random: Any = np.random.default_rng(seed)
    feeds = {}
    for number, each in enumerate(inputs):
        shape = shape_of(each, workload, batch, sizes, number == 0)
        feeds[each.name] = values(shape, np.dtype(each.dtype), random, usual.bounds.get(each.name))
    return Examples(feeds, sizes, batch)


def open_sizes(inputs: Sequence[Declared], workload: Workload, usual: Usual = NOTHING) -> dict[str, int]:
    """Return the size of each named dimension that ``inputs`` leave open beyond the batch.

    It is the one of ``workload.sizes``, or of its shape for the first input, or that of the signature's examples, or 1.

    Raises:
        MeasurementError: a size is given for a dimension that is not open.
    """
    given = workload.sizes
    batches = {each.dims[0] for each in inputs if each.dims}
    names = dict.fromkeys(
        dim for each in inputs for dim in each.dims[1:] if isinstance(dim, str) and dim not in batches
    )
    unknown = next((name for name in given if name not in names), None)
    if unknown is not None:
        known = f"open are {', '.join(names)}" if names else "it has no named open dimension beyond its batch"
        raise MeasurementError(f"{workload.model}: --size {unknown}={given[unknown]}: {known}{nearest(unknown, names)}")
    sizes: dict[Any, int] = dict(usual.sizes)
    if inputs and workload.shape:
        sizes.update(zip(inputs[0].dims, workload.shape))  # noqa: B905 (Python 3.8)
    return {name: given.get(name, sizes.get(name, 1)) for name in names}


def batch_in_force(first: Declared, workload: Workload, batch: int, sizes: Mapping[str, int]) -> int:
    shape = shape_of(first, workload, batch, sizes, True)
    if shape and batch not in (1, shape[0]):
        raise MeasurementError(f"{workload.model} fixes its batch at {shape[0]}, not {batch}; leave out --batch")
    return shape[0] if shape else 1


def shape_of(
    declared: Declared, workload: Workload, batch: int, sizes: Mapping[str, int], first: bool
) -> tuple[int, ...]:
    if workload.shape is not None and first:
        return tuple(workload.shape)
    dims: list[Any] = list(declared.dims)
    if 0 in dims:
        raise MeasurementError(
            f"{workload.model}: input {declared.name!r} has the shape {list(declared.dims)}, which holds no value; "
            "export it again with an open or a real size"
        )
    if dims and not isinstance(dims[0], int):
        # The batch may have its name elsewhere too.
        dims = [batch if dim == dims[0] else dim for dim in dims]
    dims = [sizes.get(dim, dim) for dim in dims]
    if not all(isinstance(dim, int) for dim in dims):
        raise MeasurementError(
            f"{workload.model}: input {declared.name!r} has the shape {list(declared.dims)}, open beyond its batch; "
            "give the first input's with --shape, such as --shape 1,3,224,224, or fix it in the file"
        )
    return tuple(dims)


def values(
    shape: tuple[int, ...], dtype: Any, random: Any, bounds: tuple[float, float] | None = None
) -> np.ndarray[Any, Any]:
    """Draw values within ``bounds``; without them floats from 0 to 1, 8-bit integers, of others 0, a valid index."""
    import numpy as np

    low, high = bounds or (0.0, 1.0)
    drawn: np.ndarray[Any, Any]
    if np.issubdtype(dtype, np.floating):
        drawn = random.random(shape, dtype=np.float32)
        within = np.clip(drawn, low, high) if np.isinf(high - low) else drawn * (high - low) + low
        return within.astype(dtype)
    if bounds is not None:
        drawn = random.integers(int(low), int(high), shape, endpoint=True)
        return drawn.astype(dtype)
    if dtype in (np.uint8, np.int8):
        drawn = random.integers(0, 128, shape, dtype=dtype)
        return drawn
    return np.zeros(shape, dtype)
