"""The last network timed in turns with a baseline's own file, on every target that has one.

The ratio to the teacher is another one where the processor's other work is another: a small int8 network and a large
float one don't slow down alike. Two networks of one kind do, so this ratio is what a gate can trust.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from edgekd.artifact_cache import METRICS
from edgekd.bench import Plan, Workload
from edgekd.bench.profile.cache import machine_facts
from edgekd.bench.quiet_moment import reasons, when_quiet
from edgekd.bench.records import LatencyRecord
from edgekd.bench.target import LocalTarget
from edgekd.bench.validity import TRANSIENT
from edgekd.devices.probe import Probe
from edgekd.devices.targets import RemoteTarget
from edgekd.errors import EdgekdError
from edgekd.files import canonical_json, sha256, sha256_file, write_json
from edgekd.gate.files import kept_file
from edgekd.gate.subject import load_subject
from edgekd.log import get_logger
from edgekd.pipeline import measure as usual
from edgekd.pipeline.node import Node
from edgekd.recipe import Recipe, Target
from edgekd.records.rows import place_of
from edgekd.report.schema import AgainstBaseline
from edgekd.stages.targets import is_measured_here

logger = get_logger(__name__)

VERSION = 3
NOW, BEFORE = "now", "baseline"
# Measuring goes on until the ratio is known as well as this, or twice the time is over; times by themselves are not
# asked for.
RESOLUTION, ANY_WIDTH = 0.02, 1.0


def baseline_files(baseline: Path, recipe: Recipe, probed: Mapping[str, Probe]) -> dict[Target, Path]:
    """Return the baseline's file for each target that is measured.

    Raises:
        EdgekdError: the baseline cannot be read, has no figures for any target that is measured, or lacks a file.
    """
    rows = load_subject(baseline).rows
    wanted = {target: place(target) for target in recipe.targets if is_measured_here(target) or target.device in probed}
    if not wanted:
        logger.warning(f"{baseline}: nothing is timed in turns with its files, since no target is measured")
    # A target that came with this change is not judged yet.
    found = {target: kept_file(baseline, rows[name]) for target, name in wanted.items() if name in rows}
    if wanted and not found:
        raise EdgekdError(
            f"{baseline}: has no figures for {'; '.join(wanted.values())}, but for "
            f"{'; '.join(rows)}: promote a baseline for this place, or leave out --beside"
        )
    return found


def place(target: Target) -> str:
    threads = target.threads_there
    return place_of({"device": target.device, "runtime": target.runtime, "threads": threads})


@dataclass(frozen=True)
class ComparisonNode(Node[AgainstBaseline | None]):
    """The cost of ``file`` over the baseline's on one target; ``probe`` is of its device, or None for this machine.

    It is None where others took so much of the processors that no ratio can be told.
    """

    file: Path
    baseline: Path
    target: Target
    probe: Probe | None

    within: ClassVar[str] = "measurements"

    @property
    def name(self) -> str:
        return f"{self.target.device}-{self.target.runtime}-{self.target.threads}-beside"

    @cached_property
    def key(self) -> str:
        facts = self.probe.identity_to_json() if self.probe else machine_facts(self.target.threads).to_json()
        hashes = [sha256_file(each) for each in (self.file, self.baseline)]
        about = ["beside", VERSION, usual.SECONDS, usual.LAUNCHES, hashes, self.target.model_dump(), facts]
        return sha256(canonical_json(about))

    def fill(self, folder: Path, workplace: Path) -> None:
        logger.info(f"  {place(self.target)}: in turns with the baseline's file")
        with RemoteTarget(self.probe.device) if self.probe else LocalTarget() as target:
            found = when_quiet(target.latency, comparison_plan(self.file, self.baseline, self.target))[NOW]
        compared = against_baseline(found, sha256_file(self.baseline))
        for message in reasons({NOW: found}).values():
            logger.warning(f"{place(self.target)}: the time against the baseline's file is not valid: {message}")
        beside = compared.to_json() if compared else None
        write_json(folder / METRICS, {"beside": beside, "codes": [each.code for each in found.warnings]})

    def holds(self, folder: Path) -> bool:
        # Times of an emulated device, or in another power mode, are invalid at every moment.
        if self.probe is None:
            found = self.read(folder)
            return found is not None and found.valid
        return not TRANSIENT & set(json.loads((folder / METRICS).read_text())["codes"])

    def read(self, folder: Path) -> AgainstBaseline | None:
        found = json.loads((folder / METRICS).read_text())["beside"]
        return AgainstBaseline(**found) if found else None


def comparison_plan(file: Path, baseline: Path, target: Target, seed: int = 0) -> Plan:
    workloads = {BEFORE: Workload(str(baseline), target.runtime), NOW: Workload(str(file), target.runtime)}
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
        power=False,
    )


def against_baseline(record: LatencyRecord, baseline_sha256: str) -> AgainstBaseline | None:
    """Return the comparison with the baseline from the new file's record, as :func:`comparison_plan` measures it.

    It is None where the record has no ratio.
    """
    ratio = record.latency_vs_reference
    return AgainstBaseline(**ratio.to_json(), baseline_sha256=baseline_sha256, valid=record.valid) if ratio else None
