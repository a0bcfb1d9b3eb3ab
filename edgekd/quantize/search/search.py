"""Placement by measurement: which layers of a quantised network are faster in int8, and which are not."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx_ir as ir
from onnx import ModelProto

from edgekd.bench import Plan, Subject
from edgekd.bench.place import Here, Place
from edgekd.bench.profile.cache import cache_folder
from edgekd.bench.profile.layers import LayerTime
from edgekd.bench.runtimes.onnxruntime.profile import layer_times
from edgekd.errors import EdgekdError, ExportError, StorageError
from edgekd.export.deploy import deploy
from edgekd.export.profile import PROFILES
from edgekd.files import canonical_json, read_object, sha256, write_bytes, write_json
from edgekd.quantize.search.chain import Costs, cheapest
from edgekd.quantize.search.segments import Segment, segments_of

VERSION = 2
EVERYTHING = ("",)
RUNS = 20  # of each candidate, for the times of its layers
# Rounding or unrounding an element takes about this long; several prices give several candidates to time.
CHANGE_NS = (0.0, 0.5, 2.0)
# A candidate must be this much faster than all int8 to be worth the larger file.
WORTH = 0.99

Accept = Callable[[Path], bool]


@dataclass(frozen=True)
class Candidate:
    """One placement: what it leaves in float, its time over the float twin's, and False where it was refused."""

    name: str
    keep_float: tuple[str, ...]
    ratio: float
    ci95: tuple[float, float] | None
    accepted: bool = True

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Candidate":
        interval = document["ci95"]
        return cls(
            **{**document, "keep_float": tuple(document["keep_float"]), "ci95": tuple(interval) if interval else None}
        )


@dataclass(frozen=True)
class Placed:
    """The placement that was chosen, and all that were timed."""

    chosen: str
    candidates: tuple[Candidate, ...]

    @property
    def keep_float(self) -> tuple[str, ...]:
        return next(each.keep_float for each in self.candidates if each.name == self.chosen)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def place(
    model: ModelProto,
    target: str,
    *,
    threads: int = 1,
    seconds: float = 1.0,
    accept: Accept | None = None,
    fresh: bool = False,
    at: Place | None = None,
) -> Placed:
    """Times placements of ``model``, interleaved, and chooses the fastest that ``accept`` takes.

    The float twin is always among them, so what is chosen is not slower than it unless ``accept`` refuses it, for its
    size. Candidates: everything in int8, everything in float, and for several prices of changing between them the
    cheapest way through the network's segments by ONNX Runtime's own times for each layer in int8 and in float.

    Args:
        model: with steps at every trained place, as for :func:`edgekd.export.deploy.deploy`.
        target: a profile of ONNX Runtime for the processor.
        seconds: for each candidate.
        accept: called with a candidate's file, fastest first; False where it is not accurate enough.
        fresh: measure again what was measured there before.
        at: this machine where it is left out.

    Raises:
        ExportError: the target is not measured in ONNX Runtime.
    """
    if PROFILES.find(target).runtime != "onnxruntime":
        raise ExportError(f"placement is measured in ONNX Runtime; {target} is another runtime's profile")
    at = at or Here()
    machine = at.facts(threads)
    content = sha256(model.SerializeToString(deterministic=True))
    key = sha256(canonical_json([VERSION, content, target, seconds, machine]))
    path = cache_folder() / f"placement-{key[:16]}.json"
    with TemporaryDirectory(prefix="edgekd-placement-") as folder:
        timed = None if fresh else _read(path)
        if timed is None:
            timed = _time(model, target, threads, seconds, Path(folder), at)
            with suppress(StorageError):  # a home that cannot be written to costs the search each time, nothing else
                write_json(path, {"machine": machine, "candidates": [asdict(each) for each in timed]})

        def is_accepted(keep_float: tuple[str, ...]) -> bool:
            return accept is None or accept(_write(model, target, keep_float, Path(folder) / "asked.onnx"))

        return _choose(timed, is_accepted)


def _read(path: Path) -> list[Candidate] | None:
    """The times alone: what is accurate enough is asked anew each time."""
    try:
        return [Candidate.from_json(each) for each in read_object(path, "it is made again")["candidates"]]
    except (EdgekdError, ValueError, KeyError, TypeError):
        return None


def _time(model: ModelProto, target: str, threads: int, seconds: float, folder: Path, at: Place) -> list[Candidate]:
    files: dict[str, tuple[str, ...]] = {"int8": (), "float": EVERYTHING}
    paths = {name: _write(model, target, kept, folder / f"{name}.onnx") for name, kept in files.items()}
    for name, kept in _by_profile(model, paths, threads, at).items():
        if kept not in files.values():
            files[name] = kept
            paths[name] = _write(model, target, kept, folder / f"{name}.onnx")
    plan = Plan(
        {name: Subject(str(path)) for name, path in paths.items()}, "float", threads, 1, seconds, seconds, sittings=6
    )
    records = at.latency(plan)
    timed = []
    for name, kept in files.items():
        against = records[name].latency_vs_reference
        ratio, interval = (against["ratio"], against["ci95"]) if against else (1.0, None)
        timed.append(Candidate(name, tuple(kept), ratio, tuple(interval) if interval else None))
    return timed


def _write(model: ModelProto, target: str, keep_float: Collection[str], path: Path) -> Path:
    write_bytes(path, deploy(model, target, keep_float).SerializeToString(deterministic=True))
    return path


def _choose(timed: list[Candidate], is_accepted: Callable[[tuple[str, ...]], bool]) -> Placed:
    """The fastest that is accepted; where none is, all int8, which is what was trained."""
    refused: set[str] = set()
    for each in sorted(timed, key=_rank):
        if is_accepted(each.keep_float):
            break
        refused.add(each.name)
    chosen = "int8" if len(refused) == len(timed) else each.name
    return Placed(chosen, tuple(replace(one, accepted=one.name not in refused) for one in timed))


def _rank(each: Candidate) -> float:
    """All int8 is the smallest: where it is faster than float, it counts as a hundredth faster than it is."""
    return each.ratio * (WORTH if each.name == "int8" and each.ratio <= 1 else 1.0)


def _by_profile(model: ModelProto, paths: dict[str, Path], threads: int, at: Place) -> dict[str, tuple[str, ...]]:
    segments = segments_of(ir.from_proto(model))
    times = {name: _per_segment(layer_times(path, threads, RUNS, at), segments) for name, path in paths.items()}
    found: dict[str, tuple[str, ...]] = {}
    for price in CHANGE_NS:
        change = [segment.width * price / 1e6 for segment in segments]
        in_float = cheapest(Costs(times["int8"], times["float"], change))
        kept = tuple(
            name for segment, is_float in zip(segments, in_float, strict=True) if is_float for name in segment.nodes
        )
        if 0 < sum(in_float) < len(segments) and kept not in found.values():
            found[f"mixed-{price:g}"] = kept
    return found


def _per_segment(layers: Sequence[LayerTime], segments: list[Segment]) -> list[float]:
    """A step counts for the segment of its layer, or of the layer that it comes after."""
    where = {name: index for index, segment in enumerate(segments) for name in (*segment.nodes, *segment.layers)}
    spent = [0.0] * len(segments)
    for layer in layers:
        own, _, after = layer.name.partition(" after ")
        for name in (own, own.rpartition("/")[0], after):
            if name in where:
                spent[where[name]] += layer.ms
                break
    return spent
