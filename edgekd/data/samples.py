"""Samples, held in memory or read as they are needed; the training loop cannot tell them apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from edgekd.errors import DataError, EdgekdError, first_line
from edgekd.tasks.tensors import Named, arguments_of, map_inputs, only

Batch = tuple[Named, Tensor]
IMAGES_NDIM = 4  # of (N, C, H, W)


class Samples(Protocol):
    """Raw samples with targets (N, ...), of the type and shape that the task stores them in.

    A sample is a uint8 image (C, H, W), a float32 vector (F,), or several tensors by name, as a network takes them.
    """

    @property
    def labels(self) -> Tensor: ...

    def __len__(self) -> int: ...

    def select(self, indices: Tensor) -> Samples:
        """Return the samples at ``indices``, in that order."""

    def stream(self, batches: Sequence[Tensor]) -> Iterator[Batch]:
        """Yield a (samples, labels) pair for each tensor of indices in ``batches``."""

    def original(self, index: int) -> np.ndarray | None:
        """Return an image, uint8 (C, H, W), at the size that it has in the data, or None where that is not known."""

    def digest(self) -> str:
        """Hash the samples and their labels."""


@dataclass(frozen=True, eq=False)
class InMemory:
    """Samples that fit in memory, as one tensor or several; ``keys`` are their files' names or rows, where known.

    ``own_size(key)``, if given, reads the image that was resized to the sample.
    """

    raw: Named
    labels: Tensor
    keys: np.ndarray | None = None
    own_size: Callable[[Any], np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, indices: Tensor) -> InMemory:
        keys = None if self.keys is None else self.keys[indices.numpy()]
        return InMemory(map_inputs(self.raw, itemgetter(indices)), self.labels[indices], keys, self.own_size)

    def stream(self, batches: Sequence[Tensor]) -> Iterator[Batch]:
        for indices in batches:
            yield map_inputs(self.raw, itemgetter(indices)), self.labels[indices]

    def original(self, index: int) -> np.ndarray | None:
        if self.own_size is not None and self.keys is not None:
            return self.own_size(self.keys[index])
        is_image = isinstance(self.raw, Tensor) and self.raw.ndim == IMAGES_NDIM and self.raw.dtype == torch.uint8
        return only(self.raw)[index].numpy() if is_image else None

    def digest(self) -> str:
        raw = self.raw
        by_name = [] if isinstance(raw, Tensor) else [(name, tuple(each.shape)) for name, each in raw.items()]
        shapes = tuple(raw.shape) if isinstance(raw, Tensor) else by_name
        digest = hashlib.sha256(repr(shapes).encode())
        for each in arguments_of(self.raw):
            digest.update(each.contiguous().numpy().data)
        digest.update(_bytes_of(self.labels))
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Streamed:
    """Samples read one by one in worker processes, for sets larger than memory.

    ``read(key)`` gives one raw sample, and ``file(key)`` and ``own_size(key)``, if given, its file and the image at the
    size that it has there. ``keys`` is a NumPy array rather than a list of a million Python strings, whose reference
    counts would make every worker copy them page by page.
    """

    read: Callable[[Any], Tensor]
    keys: np.ndarray
    labels: Tensor
    signature: Callable[[np.ndarray], str]
    workers: int = 2
    file: Callable[[Any], Path] | None = None
    own_size: Callable[[Any], np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, indices: Tensor) -> Streamed:
        return replace(self, keys=self.keys[indices.numpy()], labels=self.labels[indices])

    def stream(self, batches: Sequence[Tensor]) -> Iterator[Batch]:
        loader = DataLoader(
            _Reader(self.read, self.keys, self.labels),
            batch_sampler=_Batches(batches),
            num_workers=min(self.workers, len(batches)),
            collate_fn=_collate,
        )
        try:
            for batch in loader:
                if isinstance(batch, EdgekdError):
                    raise batch
                yield batch
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            raise DataError(
                f"a process that reads samples has died ({first_line(error)}); memory or /dev/shm may have "
                "run out: lower data.workers, or set data.workers: 0 to read without processes of their own"
            ) from error

    def original(self, index: int) -> np.ndarray | None:
        return None if self.own_size is None else self.own_size(self.keys[index])

    def digest(self) -> str:
        labels = hashlib.sha256(_bytes_of(self.labels)).hexdigest()
        return hashlib.sha256(f"{labels} {self.signature(self.keys)}".encode()).hexdigest()


class Joined:
    """Two sets as one, each sample read by its own: samples with labels and samples without may lie in two places."""

    def __init__(self, first: Samples, second: Samples, order: Tensor | None = None):
        self.first, self.second = first, second
        self.order = torch.arange(len(first) + len(second)) if order is None else order
        self.labels = torch.cat([first.labels, second.labels])[self.order]

    def __len__(self) -> int:
        return len(self.order)

    def select(self, indices: Tensor) -> Samples:
        order = self.order[indices]
        if len(order) and (order < len(self.first)).all():
            return self.first.select(order)
        return Joined(self.first, self.second, order)

    def stream(self, batches: Sequence[Tensor]) -> Iterator[Batch]:
        places = [self.order[indices] for indices in batches]
        firsts = [order < len(self.first) for order in places]
        streams = (
            self.first.stream([order[own] for order, own in zip(places, firsts, strict=True) if own.any()]),
            self.second.stream(
                [order[~own] - len(self.first) for order, own in zip(places, firsts, strict=True) if not own.all()]
            ),
        )
        for own in firsts:
            yield _merged(
                [(where, next(stream)) for where, stream in zip((own, ~own), streams, strict=True) if where.any()]
            )

    def original(self, index: int) -> np.ndarray | None:
        place = int(self.order[index])
        first = len(self.first)
        return self.first.original(place) if place < first else self.second.original(place - first)

    def digest(self) -> str:
        order = hashlib.sha256(self.order.contiguous().numpy().data).hexdigest()
        return hashlib.sha256(f"{self.first.digest()} {self.second.digest()} {order}".encode()).hexdigest()


def _merged(parts: list[tuple[Tensor, Batch]]) -> Batch:
    """Merge parts into one batch; each part's first tensor says where its samples go."""
    where, (images, first) = parts[0]
    raw = only(images)
    whole, labels = raw.new_empty((len(where), *raw.shape[1:])), first.new_empty((len(where), *first.shape[1:]))
    for where, (samples, their_labels) in parts:
        whole[where], labels[where] = only(samples), their_labels
    return whole, labels


def _bytes_of(labels: Tensor) -> bytes:
    """The targets as they are hashed: those of other types than whole numbers with their type and shape."""
    content = labels.contiguous().numpy().tobytes()
    if labels.dtype == torch.int64:  # older than the others, and without
        return content
    return f"{labels.dtype} {tuple(labels.shape)}\n".encode() + content


class _Reader(Dataset[Batch | EdgekdError]):
    def __init__(self, read: Callable[[Any], Tensor], keys: np.ndarray, labels: Tensor):
        self.read, self.keys, self.labels = read, keys, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch | EdgekdError:
        # Handed over, not raised: a DataLoader would put the worker's traceback into the message.
        try:
            return self.read(self.keys[index]), self.labels[index]
        except EdgekdError as error:
            return error


def _collate(samples: list[Batch | EdgekdError]) -> Batch | EdgekdError:
    errors = [sample for sample in samples if isinstance(sample, EdgekdError)]
    return errors[0] if errors else default_collate(samples)


class _Batches:
    """Turns each batch of indices into the list that a DataLoader expects, one batch at a time."""

    def __init__(self, batches: Sequence[Tensor]):
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        for indices in self.batches:
            yield indices.tolist()


def in_order(samples: Samples, batch_size: int) -> Iterator[Batch]:
    """Yield all samples in batches, first to last."""
    return samples.stream(torch.arange(len(samples)).split(batch_size))
