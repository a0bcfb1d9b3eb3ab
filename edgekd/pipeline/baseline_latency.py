"""The last network timed in turns with a baseline's own file, on every target that has one.

The ratio to the teacher is another one where the processor's other work is another: a small int8 network and a large
float one don't slow down alike. Two networks of one kind do, so this ratio is what a gate can trust.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekd.artifact_cache import METRICS, ArtifactCache
from edgekd.bench import Plan, Workload
from edgekd.bench.profile.cache import machine_facts
from edgekd.bench.records import LatencyRecord
from edgekd.bench.target import LocalTarget
from edgekd.devices.targets import RemoteTarget
from edgekd.errors import EdgekdError
from edgekd.files import canonical_json, sha256, sha256_file, write_json
from edgekd.gate.files import kept_file
from edgekd.gate.subject import load_subject
from edgekd.log import get_logger
from edgekd.pipeline import measure as usual
from edgekd.pipeline.evaluate import Exported
from edgekd.pipeline.names import ONNX_RUNTIME
from edgekd.pipeline.remote import PASSING, file_for, lasting
from edgekd.pipeline.resolve import ProbedDevice
from edgekd.recipe import Recipe, Target
from edgekd.records.rows import place_of
from edgekd.report.schema import AgainstBaseline
from edgekd.stages.targets import is_measured_here

logger = get_logger(__name__)

VERSION = 2
NOW, BEFORE = "now", "baseline"
# Measuring goes on until the ratio is known as well as this, or twice the time is over; times by themselves are not
# asked for.
RESOLUTION, ANY_WIDTH = 0.02, 1.0


def baseline_files(baseline: Path, recipe: Recipe, sites: Mapping[str, ProbedDevice]) -> dict[Target, Path]:
    """The baseline's file of each target that figures are measured on.

    Raises:
        EdgekdError: the baseline cannot be read, has no figures of any target, or lacks a file.
    """
    rows = load_subject(baseline).rows
    wanted = {target: place(target) for target in recipe.targets if is_measured_here(target) or target.device in sites}
    # A target that came with this change is not judged yet.
    found = {target: kept_file(baseline, rows[name]) for target, name in wanted.items() if name in rows}
    if not found:
        raise EdgekdError(
            f"{baseline}: has no figures of {'; '.join(wanted.values()) or 'a target that is measured'}, but of "
            f"{'; '.join(rows)}: promote a baseline for this place, or leave out --beside"
        )
    return found


def place(target: Target) -> str:
    threads = target.threads if target.runtime == ONNX_RUNTIME else None
    return place_of({"device": target.device, "runtime": target.runtime, "threads": threads})


def compare_with_baseline(
    export: Exported, agreed: Mapping[Target, Path], sites: Mapping[str, ProbedDevice], cache: ArtifactCache
) -> dict[Target, AgainstBaseline]:
    """Measures, or finds what was measured before of the same two files at the same place."""
    files = {target: file_for(export, target) for target in agreed}
    return {
        target: _timed(file, agreed[target], target, sites.get(target.device), cache)
        for target, file in files.items()
        if file
    }


def _timed(
    file: Path, agreed: Path, target: Target, site: ProbedDevice | None, cache: ArtifactCache
) -> AgainstBaseline:
    facts: Any = lasting(site) if site else machine_facts(target.threads)
    hashes = [sha256_file(each) for each in (file, agreed)]
    about = ["beside", VERSION, usual.SECONDS, usual.LAUNCHES, hashes, target.model_dump(), facts]
    name, key = f"{target.device}-{target.runtime}-{target.threads}-beside", sha256(canonical_json(about))

    def fill(folder: Path) -> None:
        logger.info(f"  {place(target)}: in turns with the baseline's file")
        with RemoteTarget(site.device) if site else LocalTarget() as there:
            found = there.latency(comparison_plan(file, agreed, target))[NOW]
        beside = of_record(found, hashes[1])
        write_json(folder / METRICS, {"beside": beside.to_json(), "codes": [each.code for each in found.warnings]})

    # What was measured in trouble is measured again, in the hope of a better moment.
    with cache.kept(name, key, fill, lambda folder: not _is_passing(folder, site)) as folder:
        return _read(folder)


def comparison_plan(file: Path, agreed: Path, target: Target, seed: int = 0) -> Plan:
    workloads = {BEFORE: Workload(str(agreed), target.runtime), NOW: Workload(str(file), target.runtime)}
    return Plan(
        workloads,
        BEFORE,
        target.threads,
        1,
        usual.SECONDS,
        2 * usual.SECONDS,
        usual.LAUNCHES,
        ANY_WIDTH,
        resolution=RESOLUTION,
        seed=seed,
    )


def of_record(record: LatencyRecord, baseline_sha256: str) -> AgainstBaseline:
    """Of the record of what a plan of :func:`comparison_plan` calls ``now``."""
    return AgainstBaseline(**(record.latency_vs_reference or {}), baseline_sha256=baseline_sha256, valid=record.valid)


def _read(folder: Path) -> AgainstBaseline:
    return AgainstBaseline(**json.loads((folder / METRICS).read_text())["beside"])


def _is_passing(folder: Path, site: ProbedDevice | None) -> bool:
    """Times of an emulated device, or in another power mode, are invalid at every moment."""
    if site is None:
        return not _read(folder).valid
    return bool(PASSING & set(json.loads((folder / METRICS).read_text())["codes"]))
