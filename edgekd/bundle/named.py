"""Samples of several inputs by name, checked before a network gets them: what it computes of others means nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekd.arrayfiles import must_be_finite, names_in_npz, read_npz
from edgekd.bundle.manifest import Tensor
from edgekd.errors import DataError
from edgekd.log import get_logger
from edgekd.nearest import nearest
from edgekd.tasks.signature import OpenDimension

logger = get_logger(__name__)

DTYPES = {"FP16": "float16", "FP32": "float32", "FP64": "float64"}


@dataclass(frozen=True)
class NamedInputs:
    """The inputs of a network that takes several.

    Attributes:
        tensors: the inputs, in the network's order.
        dimensions: of each input, the batch first; open ones by their names, None without a name.
        limits: the sizes that the network takes, of open dimensions by their names.
    """

    tensors: Sequence[Tensor]
    dimensions: Mapping[str, Sequence[int | str | None]]
    limits: Mapping[str, OpenDimension]

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.tensors]

    def read(self, path: Path) -> dict[str, np.ndarray]:
        """Read the samples in a .npz file with an array (N, ...) for each input; other arrays are logged.

        Raises:
            DataError: it is no such file.
        """
        if path.suffix.lower() != ".npz":
            raise DataError(f"{path}: this network takes {', '.join(self.names)}; {self.advice}")
        there = names_in_npz(path)
        self._must_have(there, str(path))
        if others := [name for name in there if name not in self.names]:
            logger.info(f"{path}: {', '.join(others)} left out: the network takes {', '.join(self.names)}")
        return self.check(read_npz(path, self.names), str(path))

    @property
    def advice(self) -> str:
        return f"save them with np.savez(FILE, {', '.join(f'{name}=...' for name in self.names)}), one row per sample"

    def check(self, arrays: Mapping[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
        """Return the inputs among ``arrays``, in the network's order.

        Raises:
            DataError: one is missing, of another type or shape, has another number of samples, or holds numbers that
                the network does not take.
        """
        self._must_have(arrays, where)
        for tensor in self.tensors:
            self._check_form(tensor, arrays[tensor.name], f"{where}: {tensor.name}")
        counts = {name: len(arrays[name]) for name in self.names}
        if len(set(counts.values())) > 1 or 0 in counts.values():
            given = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise DataError(f"{where}: has these numbers of samples: {given}; give each input one row for each sample")
        self._check_sizes(arrays, where)
        for tensor in self.tensors:
            self._check_values(tensor, arrays[tensor.name], f"{where}: {tensor.name}")
        return {name: arrays[name] for name in self.names}

    def _must_have(self, there: Sequence[str] | Mapping[str, np.ndarray], where: str) -> None:
        if missing := next((name for name in self.names if name not in there), None):
            holds = ", ".join(there) or "nothing"
            raise DataError(f"{where}: has no {missing!r}{nearest(missing, there)}; it holds {holds}; {self.advice}")

    def _check_form(self, tensor: Tensor, array: np.ndarray, where: str) -> None:
        wanted = dtype_of(tensor)
        if array.dtype != wanted:
            raise DataError(
                f"{where} is {array.dtype}, the network takes {wanted}: convert it with .astype({str(wanted)!r})"
            )
        shape, given = tensor.shape, array.shape
        fits = len(given) == len(shape) and all(
            size > 0 if wish == -1 else size == wish for size, wish in zip(given[1:], shape[1:], strict=True)
        )
        if not fits:
            dims = ", ".join(str(size or "any") for size in ("N", *self.dimensions[tensor.name][1:]))
            raise DataError(f"{where} is of the shape {given}, the network takes ({dims})")

    @staticmethod
    def _check_values(tensor: Tensor, array: np.ndarray, where: str) -> None:
        if array.dtype.kind == "f":
            must_be_finite(array, where)
        if tensor.bounds is None:
            return
        low, high = tensor.bounds
        wrong = (array < low) | (array > high)
        if wrong.any():
            row, value = int(np.argwhere(wrong)[0][0]), array[wrong][0]
            raise DataError(
                f"{where}: row {row} (from 0) holds {value}, the network takes {low} to {high}: number them as the "
                "training data do"
            )

    def _check_sizes(self, arrays: Mapping[str, np.ndarray], where: str) -> None:
        sizes: dict[str, tuple[str, int]] = {}
        for name in self.names:
            for dimension, size in zip(self.dimensions[name][1:], arrays[name].shape[1:], strict=True):
                if not isinstance(dimension, str):
                    continue
                first, known = sizes.setdefault(dimension, (name, size))
                if known != size:
                    raise DataError(
                        f"{where}: {dimension!r} is {known} in {first} and {size} in {name}: make them alike"
                    )
        for dimension, (name, size) in sizes.items():
            limit = self.limits.get(dimension)
            if limit and not (limit.least or 1) <= size <= (limit.most or size):
                most = "any" if limit.most is None else limit.most
                raise DataError(
                    f"{where}: {name} has {size} in {dimension!r}, the network takes {limit.least or 1} to {most}: "
                    "cut or pad the samples"
                )


def dtype_of(tensor: Tensor) -> np.dtype:
    """Return the NumPy type of ``tensor``."""
    return np.dtype(DTYPES.get(tensor.datatype, tensor.datatype.lower()))
