"""Placement by measurement: which layers of a quantised network run in int8, and which in float."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx import ModelProto

from edgekd.bench import Plan, Workload
from edgekd.bench.interleaved import InterleavedRuns
from edgekd.bench.profile.layers import LayerTime
from edgekd.bench.quiet_moment import interleave_when_quiet, must_tell, when_quiet
from edgekd.bench.target import LocalTarget, TimingTarget
from edgekd.deploy import deploy
from edgekd.errors import EdgekdError, ExportError, StorageError
from edgekd.files import canonical_json, is_file, read_object, sha256, temporary_folder, write_bytes, write_json
from edgekd.profiles import runtime_of
from edgekd.progress import counted, long_step
from edgekd.quantize.placement.cheapest import Costs, cheapest
from edgekd.quantize.placement.choice import (
    FLOAT,
    INT8,
    NO_BOUNDS,
    Bounds,
    PlacementCandidate,
    PlacementResult,
    choose_placement,
)
from edgekd.quantize.placement.regions import Partition, Region, partition
from edgekd.runtime import RUNTIMES, Runtime
from edgekd.tasks.metric import Evidence
from edgekd.user_cache import cache_folder, made_once

VERSION = 3
EVERYTHING = ("",)
RUNS, WARMUP_RUNS, MOST_RUNS = 20, 5, 100  # of int8 and of float, for the times of layers
# Approximate costs of quantising or dequantising an element; each cost gives a candidate to time. With the first,
# conversions are free. Otherwise each has a fixed cost too, more than that of its elements where these are few.
CONVERSION_NS = (0.0, 0.5, 2.0)
CONVERSION_MS = 0.002
EvidenceOf = Callable[[Path], Evidence]


def search_placement(
    model: ModelProto,
    target: str,
    *,
    threads: int = 1,
    seconds: float = 1.0,
    bounds: Bounds = NO_BOUNDS,
    evidence: EvidenceOf | None = None,
    fresh: bool = False,
    at: TimingTarget | None = None,
) -> PlacementResult:
    """Time placements of ``model``, interleaved, and choose one by :mod:`edgekd.quantize.placement.choice`.

    Candidates are all layers in int8, all in float, and for several conversion costs the fastest placement of the
    network's regions, by the runtime's own times for each layer in int8 and in float.

    Args:
        model: with a Q/DQ pair at every fake-quant, as for :func:`edgekd.deploy.deploy`.
        target: a profile for the processor, of a runtime whose layers can be timed.
        seconds: time for each candidate.
        bounds: bounds on the file's metric and size.
        evidence: returns the metric's evidence for a candidate's file on the validation samples; needed for a bound on
            the metric.
        fresh: ignore earlier measurements, and measure again.
        at: the machine that measures; this one if left out.

    Raises:
        ExportError: layers are not timed in the runtime of the target.
        DisturbedError: others took so much of the processors that the candidates cannot be told apart.
    """
    runtime = runtime_of(target)
    if runtime is None or not runtime.records_kernels:
        layered = ", ".join(each.title for each in RUNTIMES.values() if each.records_kernels)
        raise ExportError(f"placement is measured in {layered}; {target} is another runtime's profile")
    at = at or LocalTarget()
    machine = at.facts(threads).to_json()
    content = sha256(model.SerializeToString(deterministic=True))
    key = sha256(canonical_json([VERSION, content, target, seconds, machine]))
    path = cache_folder() / f"placement-{key[:16]}.json"
    with temporary_folder() as folder:
        with made_once(path, "the times of placements"):
            timed = None if fresh else _read(path)
            if timed is None:
                timed = _time(model, target, runtime, threads, seconds, folder, at)
                with suppress(StorageError):  # a home that cannot be written to costs the search each time, no more
                    write_json(path, {"machine": machine, "candidates": [asdict(each) for each in timed]})
        return _choose(model, target, timed, bounds, evidence, folder)


def choose_untimed(model: ModelProto, target: str, bounds: Bounds, evidence: EvidenceOf | None) -> PlacementResult:
    """Choose between all int8, taken to be the faster, and all float, where neither can be timed."""
    both = [PlacementCandidate(INT8, (), None, None), PlacementCandidate(FLOAT, EVERYTHING, None, None)]
    with temporary_folder() as folder:
        return _choose(model, target, both, bounds, evidence, folder)


def _choose(
    model: ModelProto,
    target: str,
    candidates: Sequence[PlacementCandidate],
    bounds: Bounds,
    evidence: EvidenceOf | None,
    folder: Path,
) -> PlacementResult:
    @cache
    def file(one: PlacementCandidate) -> Path:
        return _write(model, target, one.keep_float, folder / f"{one.name}.onnx")

    def evidence_of(one: PlacementCandidate) -> Evidence:
        assert evidence is not None
        return evidence(file(one))

    return choose_placement(candidates, bounds, lambda one: file(one).stat().st_size, evidence_of)


def _read(path: Path) -> list[PlacementCandidate] | None:
    """Return the candidates with their times; what they predict is evaluated again each time."""
    try:
        found = read_object(path, "it is made again")["candidates"] if is_file(path) else None
        return found and [PlacementCandidate.from_json(each) for each in found]
    except (EdgekdError, ValueError, KeyError, TypeError):
        return None


def _time(
    model: ModelProto, target: str, runtime: Runtime, threads: int, seconds: float, folder: Path, at: TimingTarget
) -> list[PlacementCandidate]:
    files: dict[str, tuple[str, ...]] = {INT8: (), FLOAT: EVERYTHING}
    paths = {name: _write(model, target, kept, folder / f"{name}.onnx") for name, kept in files.items()}
    for name, kept in _by_profile(model, paths, runtime, threads, at).items():
        if kept not in files.values():
            files[name] = kept
            paths[name] = _write(model, target, kept, folder / f"{name}.onnx")
    workloads = {name: Workload(str(path), runtime.name) for name, path in paths.items()}
    plan = Plan(workloads, FLOAT, threads, 1, seconds, seconds, launches=6, power=False)
    with long_step(f"placement of int8 layers, {len(files)} candidates in turns", plan.launches, "launches") as done:
        records = when_quiet(partial(at.latency, progress=partial(counted, done=done)), plan)
    must_tell(records, "the placement of int8 layers")
    timed = []
    for name, kept in files.items():
        against = records[name].latency_vs_reference
        ratio, interval = (against.ratio, against.ci95) if against else (1.0, None)
        timed.append(PlacementCandidate(name, tuple(kept), ratio, interval))
    return timed


def _write(model: ModelProto, target: str, keep_float: Collection[str], path: Path) -> Path:
    write_bytes(path, deploy(model, target, keep_float).SerializeToString(deterministic=True))
    return path


def _by_profile(
    model: ModelProto, paths: dict[str, Path], runtime: Runtime, threads: int, at: TimingTarget
) -> dict[str, tuple[str, ...]]:
    turns = InterleavedRuns(paths, (INT8, FLOAT), (), threads, WARMUP_RUNS, RUNS, MOST_RUNS, runtime=runtime.name)
    plain_ms = np.nanmedian(interleave_when_quiet(at.interleave, turns).times_ns, axis=0) / 1e6
    layer_times = runtime.part("profile").layer_times
    in_int8, in_float = (
        without_overhead(layer_times(paths[name], threads, RUNS, at), float(ms))
        for name, ms in zip(turns.order, plain_ms, strict=True)
    )
    return mixed_placements(partition(ir.from_proto(model)), in_int8, in_float)


def without_overhead(layers: Sequence[LayerTime], plain_ms: float) -> list[LayerTime]:
    """Take off each layer's time what the profiler adds to it, some microseconds, as long as a small layer itself.

    Args:
        plain_ms: the time of an inference without the profiler.
    """
    excess = max(0.0, sum(each.ms for each in layers) - plain_ms) / max(1, len(layers))
    return [replace(each, ms=max(0.0, each.ms - excess)) for each in layers]


def mixed_placements(
    parts: Partition, in_int8: Sequence[LayerTime], in_float: Sequence[LayerTime]
) -> dict[str, tuple[str, ...]]:
    """Return by name, for each conversion cost, the nodes that stay in float in the fastest placement.

    All int8, all float, and what a smaller cost gives already are left out.

    Args:
        in_int8: the layers of the network with all of them in int8.
        in_float: the same with all of them in float.
    """
    int8, float32 = (_per_region(layers, parts.regions) for layers in (in_int8, in_float))
    found: dict[str, tuple[str, ...]] = {}
    for price in CONVERSION_NS:
        fixed = CONVERSION_MS if price else 0.0
        change = [fixed + boundary.width * price / 1e6 for boundary in parts.boundaries]
        are_float = cheapest(parts.boundaries, Costs(int8, float32, change))
        kept = tuple(
            name for region, is_float in zip(parts.regions, are_float, strict=True) if is_float for name in region.nodes
        )
        if 0 < sum(are_float) < len(parts.regions) and kept not in found.values():
            found[f"mixed-{price:g}"] = kept
    return found


def _per_region(layers: Sequence[LayerTime], regions: Sequence[Region]) -> list[float]:
    """Add up times by region; a Q/DQ step counts for the region of its layer, or of the layer before it."""
    where = {name: index for index, region in enumerate(regions) for name in (*region.nodes, *region.layers)}
    spent = [0.0] * len(regions)
    for layer in layers:
        own, _, after = layer.name.partition(" after ")
        for name in (own, own.rpartition("/")[0], after):
            if name in where:
                spent[where[name]] += layer.ms
                break
    return spent
