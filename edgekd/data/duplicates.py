"""Duplicate samples: in training and test, or under two labels."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgekd.data.samples import InMemory, Samples, Streamed
from edgekd.folders import several
from edgekd.plain_text import line
from edgekd.progress import track
from edgekd.tasks.task import Task
from edgekd.tasks.tensors import arguments_of

TAIL = 4096


@dataclass(frozen=True)
class DataWarning:
    """Something in the data that makes metrics doubtful: ``code`` for machines, ``message`` for people."""

    code: str
    message: str


@dataclass(frozen=True)
class _Sample:
    part: str
    index: int
    target: NDArray[Any]
    name: str


def find_duplicates(parts: Mapping[str, Samples], task: Task, validation_of: str = "train") -> list[DataWarning]:
    """Warn of test samples that are also in another part, and of equal samples with different targets.

    Of validation samples that were not held out of the training samples, those that are also trained on are told, too.
    Samples in memory are equal if all values are, streamed ones if their files are. What is not known contradicts none.

    Args:
        parts: samples by ``train``, ``validation``, ``test`` and ``unlabelled``.
        validation_of: the part that the validation samples were held out of, ``validation`` where they were given.
    """
    groups: dict[bytes, list[_Sample]] = defaultdict(list)
    digests = {part: _digests(samples) for part, samples in parts.items() if isinstance(samples, InMemory)}
    digests |= _digests_of_files({part: each for part, each in parts.items() if isinstance(each, Streamed)})
    repeated = {digest for digest, count in Counter(_all(digests.values())).items() if count > 1}
    for part, found in digests.items():
        for index, digest in enumerate(found):
            if digest in repeated:
                source = validation_of if part == "validation" else part
                groups[digest].append(_sample(part, source, parts[part], index))
    so_that = f"the {task.metrics[0].title} is not that of unseen samples"
    told = _seen(groups.values(), "test", parts, "trained on or chosen by", so_that)
    if "validation" in parts and validation_of != "train":
        learned = {part: each for part, each in parts.items() if part != "test"}
        told += _seen(groups.values(), "validation", learned, "trained on", "choices by them favour what was learned")
    return [*told, *_contradicting(groups.values(), task)]


def _all(found: Iterable[list[bytes]]) -> Iterable[bytes]:
    return (digest for each in found for digest in each if digest)


def _sample(part: str, source: str, samples: Samples, index: int) -> _Sample:
    keys = samples.keys if isinstance(samples, (InMemory, Streamed)) else None
    key = index if keys is None else keys[index]
    name = line(os.fsdecode(bytes(key))) if isinstance(key, bytes) else f"row {key} of {source}"
    return _Sample(part, index, samples.labels[index].numpy(), name)


def _digests(samples: InMemory) -> list[bytes]:
    whole = [each.contiguous().numpy().reshape(len(samples), -1) for each in arguments_of(samples.raw)]
    return [_digest(rows) for rows in zip(*whole, strict=True)]


def _digest(rows: Iterable[NDArray[Any]]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for row in rows:
        digest.update(row.data)
    return digest.digest()


def _digests_of_files(parts: Mapping[str, Streamed]) -> dict[str, list[bytes]]:
    """Of files that have another's size and last bytes; of all others nothing, since they have no copy."""
    files = {part: list(map(each.file, each.keys)) for part, each in parts.items() if each.file}
    marks: dict[Path, tuple[int, bytes]] = {path: (path.stat().st_size, b"") for path in _flat(files)}
    for path in track(_repeated(marks), "looking for copies", len(marks)):
        marks[path] = (marks[path][0], _tail(path))
    whole = {path: hashlib.blake2b(path.read_bytes(), digest_size=16).digest() for path in _repeated(marks)}
    return {part: [whole.get(path, b"") for path in paths] for part, paths in files.items()}


def _flat(files: Mapping[str, list[Path]]) -> Iterable[Path]:
    return (path for paths in files.values() for path in paths)


def _repeated(marks: Mapping[Path, tuple[int, bytes]]) -> list[Path]:
    counts = Counter(marks.values())
    return [path for path, mark in marks.items() if counts[mark] > 1]


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
        return hashlib.blake2b(file.read(), digest_size=16).digest()


def _seen(
    groups: Iterable[list[_Sample]], part: str, parts: Mapping[str, Samples], how: str, so_that: str
) -> list[DataWarning]:
    """Warn of the samples of ``part`` that are also in another one of ``parts``."""
    twins = []
    for group in groups:
        theirs = next((other.name for other in group if other.part != part and other.part in parts), None)
        twins += [(each.index, each.name, theirs) for each in group if each.part == part and theirs is not None]
    if not twins:
        return []
    pairs = several((f"{ours} is {theirs}" for _, ours, theirs in sorted(twins)), 3)
    message = (
        f"{len(twins)} of {len(parts[part])} {part} samples {'are' if len(twins) > 1 else 'is'} also {how} ({pairs}): "
        f"{so_that}; remove them from one of the two"
    )
    return [DataWarning(f"{part}_samples_seen", message)]


def _contradicting(groups: Iterable[list[_Sample]], task: Task) -> list[DataWarning]:
    pairs = []
    for group in groups:
        first: dict[bytes, _Sample] = {}
        for sample in group:
            first.setdefault(sample.target.tobytes(), sample)
        found = (pair for pair in combinations(first.values(), 2) if task.contradict(pair[0].target, pair[1].target))
        if pair := next(found, None):
            pairs.append(", ".join(f"{each.name} is {task.describe(each.target)}" for each in pair))
    if not pairs:
        return []
    what = "samples are" if len(pairs) > 1 else "sample is"
    message = f"{len(pairs)} {what} there under different labels ({several(pairs, 2)}); keep the right one"
    return [DataWarning("contradicting_labels", message)]
