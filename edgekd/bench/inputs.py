"""Sizes of a file's open dimensions, and values for its inputs: from its signature where it has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgekd.bench.plan import Workload
from edgekd.errors import MeasurementError, ModelError
from edgekd.nearest import nearest
from edgekd.tasks.signature import Signature

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The name and the dimensions of each input; a str is open and named, None open without a name.
Declared = Sequence[tuple[str, Sequence[int | str | None]]]


def signature_in(metadata: Mapping[str, str], model: str) -> Signature | None:
    """Return the signature in an ONNX file's metadata, or None if it names none.

    Raises:
        MeasurementError: it is damaged.
    """
    try:
        return Signature.in_metadata(metadata)
    except ModelError as error:
        raise MeasurementError(f"{model}: {error}") from error


def open_sizes(inputs: Declared, workload: Workload, signature: Signature | None = None) -> dict[str, int]:
    """Return the size of each named dimension that ``inputs`` leave open beyond the batch.

    It is the one of ``workload.sizes``, or of its shape for the first input, or that of the signature's examples, or 1.

    Raises:
        MeasurementError: a size is given for a dimension that is not open.
    """
    given = workload.sizes
    batches = {dims[0] for _, dims in inputs if dims}
    names = dict.fromkeys(dim for _, dims in inputs for dim in dims[1:] if isinstance(dim, str) and dim not in batches)
    if unknown := next((name for name in given if name not in names), None):
        known = f"open are {', '.join(names)}" if names else "it has no named open dimension beyond its batch"
        raise MeasurementError(f"{workload.model}: --size {unknown}={given[unknown]}: {known}{nearest(unknown, names)}")
    usual: dict[Any, int] = {} if signature is None else {each.name: each.size for each in signature.open}
    if inputs and workload.shape:
        usual.update(zip(inputs[0][1], workload.shape, strict=False))
    return {name: given.get(name, usual.get(name, 1)) for name in names}


def with_sizes(workload: Workload) -> Workload:
    """Return ``workload`` with the sizes of :func:`open_sizes` for its ONNX file; as it is if that does not load."""
    import onnx

    try:
        model = onnx.load(workload.model, load_external_data=False)
    except Exception:  # onnx's and protobuf's errors have no common class; the runtime says why it refuses the file
        return workload
    constants = {tensor.name for tensor in model.graph.initializer}
    declared = [
        (value.name, [dim.dim_param or dim.dim_value or None for dim in value.type.tensor_type.shape.dim])
        for value in model.graph.input
        if value.name not in constants
    ]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return replace(workload, sizes=open_sizes(declared, workload, signature_in(metadata, workload.model)))


def values(
    shape: tuple[int, ...], dtype: Any, random: np.random.Generator, bounds: tuple[float, float] | None = None
) -> NDArray[Any]:
    """Draw values within ``bounds``; without them floats from 0 to 1, 8-bit integers, of others 0, a valid index."""
    import numpy as np

    low, high = bounds or (0.0, 1.0)
    if np.issubdtype(dtype, np.floating):
        drawn = random.random(shape, dtype=np.float32)
        within = np.clip(drawn, low, high) if np.isinf(high - low) else drawn * (high - low) + low
        return within.astype(dtype)
    if bounds is not None:
        return random.integers(int(low), int(high), shape, endpoint=True).astype(dtype)
    if dtype in (np.uint8, np.int8):
        return random.integers(0, 128, shape, dtype=dtype)
    return np.zeros(shape, dtype)
