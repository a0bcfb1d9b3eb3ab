"""What a teacher answers on every view of every training sample, computed once and kept on disk."""

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
from edgekd.distill.live import LOGITS, Live
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
from edgekd.progress import track
from edgekd.registry import nearest
from edgekd.scratch import remove_leftovers
from edgekd.train.device import channels_last as in_channels_last
from edgekd.train.memory import keep_freed_memory

logger = get_logger(__name__)

VERSION = 1
INDEX = "index.json"
KEY_DIGITS = 12
CHUNK = 512
# Answers that differ by more than this share of the largest one are another network's, not another processor's.
TOLERANCE = 0.01

Dtype = Literal["float32", "float16"]


def cache_bytes(samples: int, views: int, values: int, dtype: Dtype = "float32") -> int:
    """Of the cache on disk, less its headers and index.

    Args:
        values: that a teacher gives for one sample: its classes and, where features are kept, all of theirs.
    """
    return samples * views * values * np.dtype(dtype).itemsize


class TeacherCache:
    """Memory-mapped answers of a teacher, ``logits.npy`` (views, samples, classes) and ``features-0.npy`` and so on.

    >>> views = Views(4, seed=0)
    >>> cache = TeacherCache.open(folder, teacher, data, views)  # doctest: +SKIP
    >>> seen = views.augment(raw, data.augment, view, indices)  # what the teacher saw  # doctest: +SKIP
    >>> targets = cache.logits(view, indices)  # doctest: +SKIP

    Attributes:
        place: the folder of its files.
        size_bytes: of the arrays.
    """

    def __init__(self, place: Path, views: Views, files: dict[str, CacheFile], last: bool):
        self.place, self.views, self.last = place, views, last
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
        """The cache in ``folder`` of just these arguments, computed where it is missing, incomplete or damaged.

        Its size is said before it is written. When it is interrupted, all but the last few batches is kept. Every byte
        is read and compared with its SHA-256; what is damaged is said and computed again. So is everything where the
        teacher, run on one batch, no longer answers what was kept: its code may change while its weights stay.

        Args:
            folder: of any number of caches.
            layers: whose features are kept too, by path or ``path:input``.
            dtype: on disk; float16 takes half the room and rounds.
            key: of whatever else the teacher's answers depend on, such as its code.
            channels_last: the layout in which the student trains, :func:`~edgekd.train.device.trains_channels_last`.
            float32: as of :func:`edgekd.train.fit`.

        Raises:
            TrainingError: the disk has too little room, answers are not finite in ``dtype``, no such layer or dtype.
            StorageError: the disk refuses, or becomes full meanwhile; what was finished is kept.
        """
        if dtype not in get_args(Dtype):
            raise TrainingError(
                f"answers cannot be kept as {dtype!r}{nearest(dtype, get_args(Dtype))}: give float32 or float16"
            )
        live = Live(teacher, data, views, layers, channels_last, float32)
        work = _Work(folder, live, dtype, _key(teacher, live, dtype, key))
        if not work.is_whole():
            # A second process waits, and finds what the first one has written.
            with locked(work.place, f"  the teacher's answers in {work.place}"), keep_freed_memory():
                work.check()
                work.finish()
        return cls(work.place, views, work.files, channels_last)

    @property
    def size_bytes(self) -> int:
        return sum(array.nbytes for array in self._arrays.values())

    def logits(self, view: int, indices: Tensor) -> Tensor:
        """(N, classes) float32 on the CPU.

        Args:
            view: in [0, ``views.count``).
            indices: (N,), the samples' places in the training set.

        Raises:
            TrainingError: there is no such view.
        """
        return self.features(LOGITS, view, indices)

    def features(self, path: str, view: int, indices: Tensor) -> Tensor:
        """(N, \\*shape) float32 on the CPU: those of the layer ``path``; arguments as of :meth:`logits`.

        Raises:
            TrainingError: there is no such view, or the layer was not kept.
        """
        if path not in self._arrays:
            raise TrainingError(
                f"the cache in {self.place} has no features of {path!r}{nearest(path, self._arrays)}: open it with "
                "that layer"
            )
        if not 0 <= view < self.views.count:
            raise TrainingError(f"the cache in {self.place} has views 0 to {self.views.count - 1}, and no view {view}")
        found = torch.from_numpy(self._arrays[path][view, indices.cpu().numpy()]).float()
        # Sums over a map go along its layout, and their last bits with it.
        return in_channels_last(found) if self.last else found


class _Work:
    """Bringing a cache's files into the state in which they are read."""

    def __init__(self, folder: Path, live: Live, dtype: Dtype, key: str):
        self.folder, self.live, self.dtype, self.key = folder, live, dtype, key
        self.place = folder / f"teacher-{key[:KEY_DIGITS]}"
        samples, [first] = len(live.data.train), live.batches(0, live.batch_size)
        [(raw, _)] = live.data.train.stream([first])
        self.probe = live.answers(raw, first, view=0)
        names = {LOGITS: "logits.npy"} | {path: f"features-{i}.npy" for i, path in enumerate(live.layers)}
        self.files = {
            path: CacheFile(self.place / names[path], (live.views.count, samples, *answer.shape[1:]), dtype)
            for path, answer in self.probe.items()
        }
        step = max(1, CHUNK // live.batch_size) * live.batch_size
        self.chunks = [(start, min(start + step, samples)) for start in range(0, samples, step)]
        self.digests: dict[str, dict[str, str]] = {}

    def is_whole(self) -> bool:
        recorded = self._recorded()
        return self._intact(recorded) == self.chunks and self._agrees()

    def _intact(self, recorded: dict[str, dict[str, str]]) -> list[tuple[int, int]]:
        known = [chunk for chunk in self.chunks if str(chunk[0]) in recorded]
        return [chunk for chunk in known if self._digests(*chunk) == recorded[str(chunk[0])]]

    def check(self) -> None:
        """Finds out which chunks are there."""
        recorded = self._recorded()
        known = [chunk for chunk in self.chunks if str(chunk[0]) in recorded]
        intact = self._intact(recorded)
        if len(intact) < len(known):
            lost = sum(stop - start for start, stop in known) - sum(stop - start for start, stop in intact)
            logger.warning(f"{self.place} is not as it was written; the answers on {lost} samples are computed again")
        if self.chunks[0] in intact and not self._agrees():
            logger.warning(f"the teacher no longer answers what is in {self.place}; all is computed again")
            intact = []
        self.digests = {str(start): recorded[str(start)] for start, _ in intact}

    def finish(self) -> None:
        """Computes the chunks that are missing."""
        missing = [chunk for chunk in self.chunks if str(chunk[0]) not in self.digests]
        if not missing:
            return
        self._must_have_room(sum(stop - start for start, stop in missing))
        if lies_there(self.place) and not is_folder(self.place):
            move_aside(self.place)
        remove_leftovers(make_folder(self.place))
        for file in self.files.values():
            file.prepare()
        batches = {chunk: self.live.batches(*chunk) for chunk in missing}
        stream = self.live.data.train.stream([each for parts in batches.values() for each in parts])
        for (start, stop), parts in track(batches.items(), "the teacher's answers", len(missing)):
            self._write(start, stop, [self._all_views(next(stream)[0], indices) for indices in parts])

    def _write(self, start: int, stop: int, parts: list[dict[str, Tensor]]) -> None:
        """One chunk of batches (views, batch_size, \\*shape)."""
        digests = {}
        for path, file in self.files.items():
            rows = torch.cat([part[path] for part in parts], 1)[:, : stop - start].numpy()
            self._must_be_finite(rows, path)
            digests[file.path.name] = file.write(start, rows)
        # After the bytes that it vouches for.
        self.digests[str(start)] = digests
        write_json(self.place / INDEX, {"version": VERSION, "key": self.key, "sha256": self.digests})

    def _all_views(self, raw: Tensor, indices: Tensor) -> dict[str, Tensor]:
        found = [self.live.answers(raw, indices, view) for view in range(self.live.views.count)]
        return {path: torch.stack([each[path] for each in found]).to(getattr(torch, self.dtype)) for path in self.files}

    def _recorded(self) -> dict[str, dict[str, str]]:
        try:
            if not is_folder(self.place) or not is_file(self.place / INDEX):
                return {}
            index = read_object(self.place / INDEX, "it is made again")
            return dict(index["sha256"]) if index["key"] == self.key and index["version"] == VERSION else {}
        except (EdgekdError, ValueError, KeyError, TypeError):
            return {}

    def _digests(self, start: int, stop: int) -> dict[str, str | None]:
        return {file.path.name: file.digest(start, stop) for file in self.files.values()}

    def _agrees(self) -> bool:
        for path, answer in self.probe.items():
            kept = self.files[path].open()[0, : self.live.batch_size].astype(np.float32)
            # Written so that NaN does not agree.
            if not np.abs(kept - answer.numpy()).max() <= TOLERANCE * float(answer.abs().max()):
                return False
        return True

    def _must_be_finite(self, rows: np.ndarray, path: str) -> None:
        if not np.isfinite(rows).all():
            what = f"features at {path!r}" if path else "logits"
            advice = "keep them as float32, or mend it" if self.dtype == "float16" else "mend it, or train it again"
            raise TrainingError(f"the teacher's {what} are not all finite numbers in {self.dtype}: {advice}")

    def _must_have_room(self, missing: int) -> None:
        samples, views = len(self.live.data.train), self.live.views.count
        values = sum(answer[0].numel() for answer in self.probe.values())
        wanted = cache_bytes(missing, views, values, self.dtype)
        what = f"{views} views of {samples} samples, {values} numbers each"
        make_folder(self.folder)
        with storage(self.folder):
            free = shutil.disk_usage(self.folder).free
        if wanted > free:
            raise TrainingError(
                f"the teacher's answers take {size(wanted)} ({what}), and {self.folder} has {size(free)} free: free "
                "some space, keep fewer views or layers, keep float16, or choose another folder"
            )
        logger.info(f"  teacher's answers: {what}, {size(wanted)} to write in {self.place}")


def _key(teacher: nn.Module, live: Live, dtype: Dtype, key: str) -> str:
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in tensors_of(teacher).items()}
    data, views, fabric = live.data, live.views, live.fabric
    parts: list[Any] = [VERSION, sha256(save(tensors)), data.fingerprint, data.augment, data.batch_size]
    parts += [views.count, views.seed, live.layers, dtype, live.last, fabric.device.type]
    parts += [str(fabric.strategy.precision.precision), torch.__version__, key]
    return sha256(canonical_json(parts))
