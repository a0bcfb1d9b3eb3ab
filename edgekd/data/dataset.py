"""A data set ready to train on: split, scaled, fingerprinted."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from edgekd import userfile
from edgekd.bundle.manifest import is_label
from edgekd.data.augment import must_join
from edgekd.data.duplicates import DataWarning, find_duplicates
from edgekd.data.function import from_function
from edgekd.data.options import SHARE_OF_TEST, SHARE_OF_TRAIN, Data
from edgekd.data.raw import RawData
from edgekd.data.samples import Joined, Samples, in_order
from edgekd.data.sources import SOURCES
from edgekd.data.unlabelled import unlabelled_images
from edgekd.errors import DataError
from edgekd.files import canonical_json, sha256
from edgekd.geometry import Geometry
from edgekd.log import get_logger
from edgekd.nearest import nearest
from edgekd.preprocess import Preprocess, Resize
from edgekd.tasks.classification import Classification
from edgekd.tasks.own_code import code_of
from edgekd.tasks.task import Task
from edgekd.tasks.tensors import Named, only

logger = get_logger(__name__)

SCALE_SAMPLES = 2048
# In fingerprints, since scales of targets were once those of validation samples too.
ADAPTED_TO = "training samples alone"


@dataclass(frozen=True, eq=False)
class DataSet:
    """Training, validation and test samples of one task.

    Every choice is made on the validation samples, which were held out of the samples that ``validation_of`` names, or
    given with the data; the test samples are touched only to report. The task says which training samples have no
    label; ``unlabelled_share`` is their share of each batch, all are mixed without it. ``warnings`` are for readers of
    metrics. Samples of several inputs are tensors by name, as a network takes them; ``open`` names their axes whose
    sizes differ from call to call, and ``open_sizes`` has the least and the largest size by that name. ``decoder``
    holds options of the task.
    """

    name: str
    classes: tuple[str, ...]
    preprocess: Preprocess
    train: Samples
    validation: Samples
    test: Samples
    batch_size: int = 128
    augment: tuple[str, ...] = ()
    unlabelled_share: float | None = None
    warnings: tuple[DataWarning, ...] = ()
    kind: Callable[..., Task] = Classification
    decoder: Mapping[str, object] = field(default_factory=dict)
    open: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    open_sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    validation_of: Literal["train", "test", "validation"] = "train"

    @cached_property
    def task(self) -> Task:
        """Return what a network is for on these samples."""
        return self.kind(self.classes, **self.decoder)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of the one input, empty where there are several."""
        return self.preprocess.shape

    def example(self, count: int = 2) -> Named:
        """Return the network's inputs for the first ``count`` training samples."""
        ((raw, _),) = self.train.stream([torch.arange(min(count, len(self.train)))])
        return self.to_input(raw)

    @cached_property
    def fingerprint(self) -> str:
        """Return a hash of samples, targets, names, split, scale, the share of unlabelled samples, and the task."""
        parts = [samples.digest() for samples in (self.train, self.validation, self.test)]
        share = [] if self.unlabelled_share is None else [self.unlabelled_share]
        # Those of classes are older than tasks are.
        task = [] if isinstance(self.task, Classification) else [self.task.name]
        open_axes = [[[name, *axes.items()] for name, axes in self.open.items()]] if self.open else []
        sizes = [dict(self.open_sizes)] if self.open_sizes else []
        scale = self.preprocess.scale_to_json()
        # A class, unless the task was adapted to targets.
        adapted = [] if isinstance(self.kind, type) else [ADAPTED_TO]
        return sha256(canonical_json([parts, self.classes, scale, *share, *task, *open_axes, *sizes, *adapted]))

    @property
    def decoded_fingerprint(self) -> str:
        """Return a hash of :attr:`fingerprint`, of the task's options and its code, for what holds predictions."""
        code = [self.task_code] if self.task_code else []
        about = [self.fingerprint, self.decoder, *code]
        return sha256(canonical_json(about)) if self.decoder or code else self.fingerprint

    @property
    def task_code(self) -> tuple[str, ...]:
        """Return hashes of the user's files that the task is made of, none for edgekd's own tasks."""
        return code_of(type(self.task))

    @property
    def judged_decoder(self) -> dict[str, object]:
        """Return the set options of the task that its first metric depends on, by which trainings are judged."""
        options = self.task.decoder_options
        return {name: value for name, value in self.decoder.items() if name in options and options[name].is_judged}

    @property
    def has_target(self) -> Tensor:
        """Return which training samples (N,) have a target that is known, at least in part."""
        return torch.from_numpy(self.task.known(self.train.labels.numpy()))

    def labelled_only(self) -> DataSet:
        """Return this data set without the training samples that have no label."""
        known = self.has_target
        if known.all():
            return self
        return replace(self, train=self.train.select(torch.nonzero(known).flatten()), unlabelled_share=None)

    def to_input(self, raw: Named) -> Named:
        """Scale raw samples to the network's float32 input, with the arithmetic of :meth:`Preprocess.apply`.

        Several tensors by name are returned as they are.
        """
        if not isinstance(raw, Tensor):
            return raw
        view = (-1,) + (1,) * (raw.ndim - 2)
        mean = torch.tensor(self.preprocess.mean).view(view)
        std = torch.tensor(self.preprocess.std).view(view)
        scaled = raw.float() / 255 if self.preprocess.kind == "image" else raw
        return (scaled - mean) / std

    def inputs(self, samples: Samples) -> Iterator[Named]:
        """Yield the network's inputs for ``samples``, first to last, in batches."""
        return (self.to_input(raw) for raw, _ in in_order(samples, self.batch_size))


def load_data(
    data: Data, seed: int = 0, kind: type[Task] = Classification, decoder: Mapping[str, object] | None = None
) -> DataSet:
    """Load the data that ``data`` names for a task of ``kind``, and hold validation samples out where there are none.

    Args:
        decoder: options of the task, see :attr:`edgekd.tasks.task.Task.decoder_options`.

    Raises:
        DataError: the data are missing, damaged, not the task's, or cannot be learned from.
    """
    load = from_function if userfile.is_reference(data.source) else SOURCES.find(data.source).load
    source = load(data, kind)
    decoder = {**source.decoder, **(decoder or {})}
    task = kind(source.classes, **decoder)
    if source.kind != "image" and data.augment:
        raise DataError(f"data.augment: {', '.join(data.augment)} is for images, {data.source} gives {source.kind}s")
    if source.kind != "image" and data.unlabelled is not None:
        raise DataError(
            f"data.unlabelled: {data.unlabelled} is for images, {data.source} gives {source.kind}s; leave it out"
        )
    _must_be_nameable(data, source.classes)
    where, train = data.path or data.source, _limited(source.train, data.train_limit, task)
    advice = "" if data.train_limit is None else "raise data.train_limit"
    task.must_be_learnable(train.labels.numpy(), where, advice)
    test = _limited(source.test, data.test_limit, task)
    train, validation, test = _parts(data, train, source.validation, test, seed, task)
    for part, samples in (("training", train), ("test", test)):
        if not len(samples):
            raise DataError(f"{where} has one {part} sample, which validation takes: {advice or 'add some'}")
    for part, samples in (("validation", validation), ("test", test)):
        task.must_be_measurable(samples.labels.numpy(), part, where)
    # Scales of targets, too, are those of training samples alone.
    size = (source.shape[1], source.shape[2]) if source.kind == "image" else None
    adapted = task.adapted(train.labels.numpy(), size)
    _must_move(data, source, train.labels[:1], task)
    name = data.path.name if data.source == "folder" and data.path else data.source
    preprocess = _scale(data, source, train)
    unlabelled = None
    if data.unlabelled is not None:
        like = source.train.labels.numpy()
        unlabelled = unlabelled_images(
            data, data.unlabelled, source.shape, lambda count: torch.from_numpy(task.unknown(like, count))
        )
    parts = {"train": train, "validation": validation, "test": test}
    validation_of = data.validation_of if source.validation is None else "validation"
    everything = parts if unlabelled is None else {**parts, "unlabelled": unlabelled}
    warnings = [
        *find_duplicates(everything, task, validation_of),
        *_told_by_task(task, validation=validation, test=test),
    ]
    for each in warnings:
        logger.warning(each.message)
    return DataSet(
        name=userfile.file_of(name).name if userfile.is_reference(name) else name,
        classes=source.classes,
        preprocess=preprocess,
        train=train if unlabelled is None else Joined(train, unlabelled),
        validation=validation,
        test=test,
        batch_size=data.batch_size,
        augment=data.augment,
        unlabelled_share=data.unlabelled_share,
        warnings=tuple(warnings),
        kind=kind if adapted is task else lambda names, **decoder: adapted,
        decoder=decoder,
        open=_open_axes(data, source),
        open_sizes=data.open_sizes or {},
        validation_of=validation_of,
    )


def _open_axes(data: Data, source: RawData) -> Mapping[str, Mapping[int, str]]:
    if not data.open:
        return {}
    if source.kind != "tensors":
        raise DataError(f"data.open is of several inputs by name, and {data.source} gives {source.kind}s; leave it out")
    ((raw, _),) = source.train.stream([torch.arange(1)])
    assert not isinstance(raw, Tensor)
    for name, axes in data.open.items():
        if name not in raw:
            raise DataError(f"data.open: there is no input {name!r}{nearest(name, raw)}; inputs are {', '.join(raw)}")
        if len(axes) >= raw[name].ndim:
            found = "axis" if raw[name].ndim == 2 else "axes"
            raise DataError(
                f"data.open: {name} has {raw[name].ndim - 1} {found} behind the batch, and {len(axes)} names"
            )
        for dimension, size in zip(axes, raw[name].shape[1:], strict=False):
            least, most = (data.open_sizes or {}).get(dimension or "", (size, size))
            if not least <= size <= most:
                raise DataError(f"data.open_sizes: {dimension} is {size} in {name}, outside of {least} to {most}")
    return {
        name: {axis: dimension for axis, dimension in enumerate(axes, 1) if dimension is not None}
        for name, axes in data.open.items()
    }


def _told_by_task(task: Task, **parts: Samples) -> list[DataWarning]:
    return [
        DataWarning("metrics_say_less", f"{part} samples: {message}")
        for part, samples in parts.items()
        for message in task.warnings(task.targets(samples.labels.numpy()))
    ]


def _must_be_nameable(data: Data, classes: tuple[str, ...]) -> None:
    """By the rule of bundles, which would refuse them after all training."""
    where = data.path or data.source
    wrong = next((name for name in classes if not is_label(name)), None)
    if wrong is not None:
        raise DataError(f"{where}: the class name {wrong!r} is not one line of printable text; rename the class")
    alike = Counter(unicodedata.normalize("NFC", name) for name in classes)
    twice = next((name for name, count in alike.items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{where}: two classes are called {twice!r}; rename one of them")


def _must_move(data: Data, source: RawData, stored: Tensor, task: Task) -> None:
    """Refuse targets that cannot move with images before training does."""
    if not data.augment:
        return
    must_join(data.augment, task)
    _, height, width = source.shape
    try:
        task.move_targets(stored.numpy(), Geometry.unmoved(len(stored), (height, width)))
    except DataError as error:
        raise DataError(f"{data.path or data.source}: {error}, or leave data.augment out") from error


def _limited(samples: Samples, limit: int | None, task: Task) -> Samples:
    if limit is None or limit >= len(samples):
        return samples
    return samples.select(_drawn(samples.labels, limit, 0, task))


def _parts(
    data: Data, train: Samples, validation: Samples | None, test: Samples, seed: int, task: Task
) -> tuple[Samples, Samples, Samples]:
    """Return training, validation and test samples."""
    if validation is not None:
        return train, validation, test
    if data.validation_of == "test":
        # By one seed: what is left to test on is part of what the data are, not of a recipe's seed.
        keep, held_out = _split(test.labels, data.validation or SHARE_OF_TEST, 0, task)
        return train, test.select(held_out), test.select(keep)
    keep, held_out = _split(train.labels, data.validation or SHARE_OF_TRAIN, seed, task)
    return train.select(keep), train.select(held_out), test


def _split(labels: Tensor, share: float, seed: int, task: Task) -> tuple[Tensor, Tensor]:
    held_out = _drawn(labels, round(len(labels) * share), seed, task)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[held_out] = True
    return torch.nonzero(~chosen).flatten(), held_out


def _drawn(labels: Tensor, total: int, seed: int, task: Task) -> Tensor:
    """``total`` indices in ascending order, of each of the task's strata by its share, at least one and never all."""
    strata = task.strata(task.targets(labels.numpy()))
    groups = torch.zeros(len(labels), dtype=torch.long) if strata is None else torch.from_numpy(strata)
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for group, count in enumerate(_shares(torch.bincount(groups).tolist(), total)):
        members = torch.nonzero(groups == group).flatten()
        parts.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(parts).sort().values


def _shares(sizes: list[int], total: int) -> list[int]:
    """``total`` divided in proportion to ``sizes``, by the method of the largest remainders."""
    exact = [size * total / sum(sizes) for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda index: int(exact[index]) - exact[index])
    extra = set(by_remainder[: total - sum(map(int, exact))])
    counts = [int(share) + (index in extra) for index, share in enumerate(exact)]
    return [max(min(1, size), min(count, size - 1)) for count, size in zip(counts, sizes, strict=True)]


def _scale(data: Data, source: RawData, train: Samples) -> Preprocess:
    if source.kind == "tensors":
        if data.mean is not None:
            raise DataError(f"data.mean and data.std are of one input, and {data.source} gives several; leave them out")
        return Preprocess("tensors", (), (), ())
    channels = source.shape[0]
    if data.mean is not None and data.std is not None:
        if len(data.mean) != channels:
            raise DataError(
                f"data.mean has {len(data.mean)} values, the input has {channels} channels: give one for each"
            )
        return Preprocess(source.kind, source.shape, data.mean, data.std, resize=_resize(data, source))
    chosen = torch.linspace(0, len(train) - 1, min(len(train), SCALE_SAMPLES)).long()
    raw = torch.cat([only(part) for part, _ in train.stream(chosen.split(256))]).double()
    raw = raw / 255 if source.kind == "image" else raw
    dims = (0, *range(2, raw.ndim))
    mean, std = raw.mean(dims), raw.std(dims, correction=0)
    std = torch.where(std > 1e-8, std, torch.ones_like(std))
    return Preprocess(source.kind, source.shape, _rounded(mean), _rounded(std), resize=_resize(data, source))


def _resize(data: Data, source: RawData) -> Resize:
    return data.resize if source.kind == "image" else "stretch"


def _rounded(values: Tensor) -> tuple[float, ...]:
    """Six digits: enough for any input, and the same on every machine."""
    return tuple(float(f"{value:.6g}") for value in values.tolist())
