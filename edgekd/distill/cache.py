"""A teacher's logits and features on every view of every training sample, computed once and stored on disk."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from edgekd.artifact import tensors_of
from edgekd.data import DataSet
from edgekd.data.views import Views
from edgekd.distill.cache_file import CacheFile
from edgekd.distill.teacher_runner import LOGITS, TeacherRunner, output_at
from edgekd.errors import EdgekdError, TrainingError
from edgekd.files import (
    canonical_json,
    is_file,
    is_folder,
    lies_there,
    locked,
    make_folder,
    move_aside,
    read_object,
    sha256,
    storage,
    write_json,
)
from edgekd.formatting import size
from edgekd.log import get_logger
from edgekd.machine_lock import give_way, training
from edgekd.nearest import nearest
from edgekd.progress import track
from edgekd.scratch import remove_leftovers
from edgekd.tasks.tensors import Named
from edgekd.train.device import channels_last as in_channels_last
from edgekd.train.memory import keep_freed_memory

logger = get_logger(__name__)

VERSION = 1
INDEX = "index.json"
KEY_DIGITS = 12
CHUNK = 512
# Outputs that differ by more than this share of the largest come from another network, not another processor.
TOLERANCE = 0.01

Dtype = Literal["float32", "float16"]


def cache_bytes(samples: int, views: int, values: int, dtype: Dtype = "float32") -> int:
    """Return the bytes of a cache on disk, without headers and index.

    Args:
        values: the number of values for one sample: logits, and features where they are stored.
    """
    return samples * views * values * np.dtype(dtype).itemsize


class TeacherCache:
    """Memory-mapped outputs of a teacher: ``logits.npy`` (views, samples, classes), ``features-0.npy`` and so on.

    Further outputs that the task decodes are ``output-0.npy`` and so on.

    >>> views = Views(4, seed=0)
    >>> cache = TeacherCache.open(folder, teacher, data, views)  # doctest: +SKIP
    >>> seen = views.augment(raw, data.augment, view, indices)  # what the teacher saw  # doctest: +SKIP
    >>> targets = cache.logits(view, indices)  # doctest: +SKIP

    Attributes:
        folder: the folder of its files.
        size_bytes: the size of the arrays.
    """

    def __init__(self, folder: Path, views: Views, files: dict[str, CacheFile], channels_last: bool):
        self.folder, self.views, self.channels_last = folder, views, channels_last
        self._arrays = {path: file.open() for path, file in files.items()}

    @classmethod
    def open(
        cls,
        folder: Path,
        teacher: nn.Module,
        data: DataSet,
        views: Views,
        *,
        layers: Sequence[str] = (),
        dtype: Dtype = "float32",
        key: str = "",
        channels_last: bool = True,
        float32: bool = False,
    ) -> "TeacherCache":
        """Open the cache of exactly these arguments in ``folder``, and compute what is missing or damaged.

        Its size is logged before it is written. After an interruption all but the last few batches are kept. Every byte
        is compared with its SHA-256, and damaged chunks are logged and computed again. Everything is computed again if
        the teacher's outputs on one batch differ from the stored ones: its code may change while its weights stay.

        Args:
            folder: a folder for any number of caches.
            layers: layers whose features are stored too, by path or ``path:input``.
            dtype: the type on disk; float16 takes half the space and rounds.
            key: a hash of whatever else the teacher's outputs depend on, such as its code.
            channels_last: the layout in which the student trains, :func:`~edgekd.train.device.trains_channels_last`.
            float32: as for :func:`edgekd.train.fit`.

        Raises:
            TrainingError: the disk has too little space, outputs are not finite in ``dtype``, no such layer or dtype.
            StorageError: the disk cannot be written, or becomes full; finished chunks are kept.
        """
        if dtype not in get_args(Dtype):
            raise TrainingError(
                f"outputs cannot be stored as {dtype!r}{nearest(dtype, get_args(Dtype))}: give float32 or float16"
            )
        runner = TeacherRunner(teacher, data, views, layers, channels_last, float32)
        writer = _CacheWriter(folder, runner, dtype, _key(teacher, runner, dtype, key))
        if not writer.is_complete():
            # A second process waits, and finds what the first one has written.
            with locked(writer.folder, f"  the teacher's outputs in {writer.folder}"), keep_freed_memory():
                writer.check()
                writer.finish()
        return cls(writer.folder, views, writer.files, channels_last)

    @property
    def size_bytes(self) -> int:
        return sum(array.nbytes for array in self._arrays.values())

    def logits(self, view: int, indices: Tensor) -> Tensor:
        """Return the logits, (N, classes) float32 on the CPU.

        Args:
            view: in [0, ``views.count``).
            indices: (N,), the samples' indices in the training set.

        Raises:
            TrainingError: there is no such view.
        """
        return self.features(LOGITS, view, indices)

    def outputs(self, view: int, indices: Tensor) -> dict[str, Tensor]:
        """Return all outputs that the task decodes, by name; else as :meth:`logits`."""
        names = {path: name for path in self._arrays if (name := output_at(path)) is not None}
        return {name: self.features(path, view, indices) for path, name in names.items()}

    def features(self, path: str, view: int, indices: Tensor) -> Tensor:
        """Return the features of the layer ``path``, (N, \\*shape) float32 on the CPU; arguments as for :meth:`logits`.

        Raises:
            TrainingError: there is no such view, or the layer's features are not stored.
        """
        if path not in self._arrays:
            raise TrainingError(
                f"the cache in {self.folder} has no features of {path!r}{nearest(path, self._arrays)}: open it with "
                "that layer"
            )
        if not 0 <= view < self.views.count:
            raise TrainingError(f"the cache in {self.folder} has views 0 to {self.views.count - 1}, and no view {view}")
        found = torch.from_numpy(self._arrays[path][view, indices.cpu().numpy()]).float()
        # The last bits of sums over a map depend on its layout.
        return in_channels_last(found) if self.channels_last else found


class _CacheWriter:
    """Completes the files of a cache."""

    def __init__(self, parent: Path, runner: TeacherRunner, dtype: Dtype, key: str):
        self.parent, self.runner, self.dtype, self.key = parent, runner, dtype, key
        self.folder = parent / f"teacher-{key[:KEY_DIGITS]}"
        samples, [first] = len(runner.data.train), runner.batches(0, runner.batch_size)
        [(raw, _)] = runner.data.train.stream([first])
        self.probe = runner.outputs(raw, first, view=0)
        others = [path for path in self.probe if path != LOGITS and output_at(path)]
        names = {LOGITS: "logits.npy"} | {path: f"output-{i}.npy" for i, path in enumerate(others)}
        names |= {path: f"features-{i}.npy" for i, path in enumerate(runner.layers)}
        self.files = {
            path: CacheFile(self.folder / names[path], (runner.views.count, samples, *output.shape[1:]), dtype)
            for path, output in self.probe.items()
        }
        step = max(1, CHUNK // runner.batch_size) * runner.batch_size
        self.chunks = [(start, min(start + step, samples)) for start in range(0, samples, step)]
        self.digests: dict[str, dict[str, str]] = {}

    def is_complete(self) -> bool:
        recorded = self._recorded()
        return self._intact(recorded) == self.chunks and self._agrees()

    def _intact(self, recorded: dict[str, dict[str, str]]) -> list[tuple[int, int]]:
        known = [chunk for chunk in self.chunks if str(chunk[0]) in recorded]
        return [chunk for chunk in known if self._digests(*chunk) == recorded[str(chunk[0])]]

    def check(self) -> None:
        """Find the chunks that are written and intact."""
        recorded = self._recorded()
        known = [chunk for chunk in self.chunks if str(chunk[0]) in recorded]
        intact = self._intact(recorded)
        if len(intact) < len(known):
            lost = sum(stop - start for start, stop in known) - sum(stop - start for start, stop in intact)
            logger.warning(f"{self.folder} is not as it was written; the outputs on {lost} samples are computed again")
        if self.chunks[0] in intact and not self._agrees():
            logger.warning(f"the teacher's outputs are no longer those in {self.folder}; all are computed again")
            intact = []
        self.digests = {str(start): recorded[str(start)] for start, _ in intact}

    def finish(self) -> None:
        """Compute the missing chunks."""
        missing = [chunk for chunk in self.chunks if str(chunk[0]) not in self.digests]
        if not missing:
            return
        self._must_have_room(sum(stop - start for start, stop in missing))
        if lies_there(self.folder) and not is_folder(self.folder):
            move_aside(self.folder)
        remove_leftovers(make_folder(self.folder))
        for file in self.files.values():
            file.prepare()
        batches = {chunk: self.runner.batches(*chunk) for chunk in missing}
        stream = self.runner.data.train.stream([each for parts in batches.values() for each in parts])
        with training():
            for (start, stop), parts in track(batches.items(), "the teacher's outputs", len(missing)):
                self._write(start, stop, [self._all_views(next(stream)[0], indices) for indices in parts])

    def _write(self, start: int, stop: int, parts: list[dict[str, Tensor]]) -> None:
        """Write a chunk of batches (views, batch_size, \\*shape)."""
        digests = {}
        for path, file in self.files.items():
            rows = torch.cat([part[path] for part in parts], 1)[:, : stop - start].numpy()
            self._must_be_finite(rows, path)
            digests[file.path.name] = file.write(start, rows)
        # After the bytes whose digests it holds.
        self.digests[str(start)] = digests
        write_json(self.folder / INDEX, {"version": VERSION, "key": self.key, "sha256": self.digests})

    def _all_views(self, raw: Named, indices: Tensor) -> dict[str, Tensor]:
        give_way()
        found = [self.runner.outputs(raw, indices, view) for view in range(self.runner.views.count)]
        return {path: torch.stack([each[path] for each in found]).to(getattr(torch, self.dtype)) for path in self.files}

    def _recorded(self) -> dict[str, dict[str, str]]:
        try:
            if not is_folder(self.folder) or not is_file(self.folder / INDEX):
                return {}
            index = read_object(self.folder / INDEX, "it is made again")
            return dict(index["sha256"]) if index["key"] == self.key and index["version"] == VERSION else {}
        except (EdgekdError, ValueError, KeyError, TypeError):
            return {}

    def _digests(self, start: int, stop: int) -> dict[str, str | None]:
        return {file.path.name: file.digest(start, stop) for file in self.files.values()}

    def _agrees(self) -> bool:
        for path, output in self.probe.items():
            kept = self.files[path].open()[0, : self.runner.batch_size].astype(np.float32)
            # Written so that NaN differs.
            if not np.abs(kept - output.numpy()).max() <= TOLERANCE * float(output.abs().max()):
                return False
        return True

    def _must_be_finite(self, rows: np.ndarray, path: str) -> None:
        if not np.isfinite(rows).all():
            kind = output_at(path) or f"features at {path!r}"
            advice = "store them as float32, or fix it" if self.dtype == "float16" else "fix it, or train it again"
            raise TrainingError(f"the teacher's {kind} are not all finite numbers in {self.dtype}: {advice}")

    def _must_have_room(self, missing: int) -> None:
        samples, views = len(self.runner.data.train), self.runner.views.count
        values = sum(output[0].numel() for output in self.probe.values())
        wanted = cache_bytes(missing, views, values, self.dtype)
        content = f"{views} views of {samples} samples, {values} numbers each"
        make_folder(self.parent)
        with storage(self.parent):
            free = shutil.disk_usage(self.parent).free
        if wanted > free:
            raise TrainingError(
                f"the teacher's outputs take {size(wanted)} ({content}), and {self.parent} has {size(free)} free: free "
                "some space, store fewer views or layers, use float16, or choose another folder"
            )
        logger.info(f"  teacher's outputs: {content}, {size(wanted)} to write in {self.folder}")


def _key(teacher: nn.Module, runner: TeacherRunner, dtype: Dtype, key: str) -> str:
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in tensors_of(teacher).items()}
    data, views, fabric = runner.data, runner.views, runner.fabric
    parts: list[Any] = [VERSION, sha256(save(tensors)), data.fingerprint, data.augment, data.batch_size]
    parts += [views.count, views.seed, runner.layers, dtype, runner.last, fabric.device.type]
    parts += [str(fabric.strategy.precision.precision), torch.__version__, key]
    return sha256(canonical_json(parts))
