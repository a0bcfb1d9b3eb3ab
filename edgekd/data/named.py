"""Samples of several inputs: arrays by name, as a network takes them, without any scaling."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgekd.arrayfiles import as_array, must_be_finite
from edgekd.data.raw import RawData
from edgekd.data.samples import InMemory
from edgekd.errors import DataError
from edgekd.tasks.task import Task
from edgekd.tasks.tensor_spec import DTYPES

EXPECTED = f"arrays (N, ...) of {', '.join(DTYPES)}, N alike"


def from_named_arrays(
    where: str,
    parts: Mapping[str, tuple[Mapping[str, object], Any]],
    names: tuple[str, ...] | None,
    kind: type[Task],
) -> RawData:
    """Check (inputs by name, targets) and make samples of them, whose inputs are taken as they are.

    Args:
        where: the source, for messages.
        parts: of training, test and, if given, validation samples, by ``train``, ``test`` and ``validation``.
        names: of the task's classes or labels; numbers if left out.

    Raises:
        DataError: a part has other inputs than training, or an array does not fit.
    """
    inputs = {part: _tensors(each[0], f"{where}: {part}_x") for part, each in parts.items()}
    for part, own in inputs.items():
        _must_be_alike(where, inputs["train"], own, part)
    targets = {
        part: kind.read_targets(
            as_array(each[1], f"{where}: {part}_y", EXPECTED), _count(inputs[part]), f"{where}: {part}_y"
        )
        for part, each in parts.items()
    }
    names = kind.numbered(targets["train"], where) if names is None else names
    for part, each in targets.items():
        kind(names).must_be_named(each, f"{where}: {part}_y")
    samples = {
        part: InMemory(inputs[part], torch.from_numpy(each), np.arange(len(each))) for part, each in targets.items()
    }
    return RawData(samples["train"], samples["test"], names, "tensors", (), validation=samples.get("validation"))


def _count(inputs: Mapping[str, Tensor]) -> int:
    return len(next(iter(inputs.values())))


def _tensors(inputs: Mapping[str, object], where: str) -> dict[str, Tensor]:
    if not inputs:
        raise DataError(f"{where} has no input; expected {EXPECTED}")
    found = {}
    for name, raw in inputs.items():
        place = f"{where}[{name!r}]"
        if not isinstance(name, str) or not name.isidentifier():
            raise DataError(f"{place}: an input is named as a parameter of forward is, in letters, digits and _")
        array = as_array(raw, place, EXPECTED)
        if not array.ndim or not array.size or array.dtype.name not in DTYPES:
            raise DataError(f"{place} is {array.dtype} of shape {array.shape}; expected {EXPECTED}")
        if array.dtype.kind == "f":
            must_be_finite(array.reshape(len(array), -1), place)
        found[name] = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    counts = {name: len(each) for name, each in found.items()}
    if len(set(counts.values())) > 1:
        given = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DataError(f"{where}: inputs have different numbers of samples ({given}); give one row for each sample")
    return found


def _must_be_alike(where: str, train: Mapping[str, Tensor], other: Mapping[str, Tensor], part: str) -> None:
    ours, theirs = ({name: (each.dtype, each.shape[1:]) for name, each in own.items()} for own in (train, other))
    if list(ours) != list(theirs):
        raise DataError(f"{where}: training inputs are {', '.join(ours)}, {part} inputs {', '.join(theirs)}")
    unlike = next((name for name in ours if ours[name] != theirs[name]), None)
    if unlike is not None:
        pair = (ours[unlike], theirs[unlike])
        shown = [f"{str(dtype).removeprefix('torch.')} {tuple(shape)}" for dtype, shape in pair]
        raise DataError(f"{where}: a training sample's {unlike} is {shown[0]}, a {part} sample's {shown[1]}")
