"""Latency, memory and layers of the exported files, each file's time against the teacher's, in turns."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

from edgekd.agent.power import sensor
from edgekd.artifact_cache import METRICS
from edgekd.bench import LatencyRecord, MemoryRecord, Plan, Workload, fingerprint
from edgekd.bench import measure as carry_out
from edgekd.bench import memory as peak_memory
from edgekd.bench.profile.profiler import machine_roofs, profile_against_roofline
from edgekd.bench.profile.roofs import Roofs
from edgekd.bench.quiet_moment import when_quiet
from edgekd.bench.validity import POWER_OF_OTHERS
from edgekd.files import canonical_json, sha256, sha256_file, write_json
from edgekd.pipeline.evaluate import Exported
from edgekd.pipeline.node import Node
from edgekd.progress import counted, long_step
from edgekd.recipe import Target
from edgekd.report.schema import ProfileRecord
from edgekd.runtime import DEFAULT

VERSION = 3
# For each network; a run measures several at once, and the wider intervals of fewer launches are narrow enough.
SECONDS = 3.0
LAUNCHES = 6
PROFILE_RUNS = 50


class Measured:
    """The latency and memory of every network on one target, and the layers of the first and the last."""

    def __init__(self, folder: Path):
        content = json.loads((folder / METRICS).read_text())
        self.latency = {label: LatencyRecord.from_json(record) for label, record in content["latency"].items()}
        self.memory = {label: MemoryRecord(**record) for label, record in content["memory"].items()}
        self.profiles = tuple(ProfileRecord(**each) for each in content["profiles"])
        self.environment = content["environment"]


@dataclass(frozen=True)
class LatencyNode(Node[Measured]):
    """Latency, memory and layers of all networks on this machine's CPU.

    Attributes:
        question: the ratio to the teacher that the budget asks about: measuring goes on around it.
        roofs_of: gives the machine's roofs, which all profiles of a run share.
    """

    exports: Sequence[Exported]
    target: Target
    question: float = 1.0
    roofs_of: Callable[[int], Roofs] = machine_roofs

    within: ClassVar[str] = "measurements"

    @property
    def name(self) -> str:
        return f"{self.target.device}-{self.target.runtime}-{self.target.threads}"

    @cached_property
    def key(self) -> str:
        here = fingerprint()
        machine = {"cpu": here.cpu.to_json(), "packages": here.packages, "kernel": here.kernel}
        files = [sha256_file(path) for path in self._files.values()]
        how = ["latency", VERSION, SECONDS, LAUNCHES, PROFILE_RUNS, self.question]
        runtime = [] if self.target.runtime == DEFAULT else [self.target.runtime]
        # Once power can be read, it is.
        power = [found[0]] if (found := sensor()) else []
        return sha256(canonical_json([*how, files, self.target.threads, machine, *runtime, *power]))

    @property
    def _files(self) -> dict[str, Path]:
        return {export.label: export.folder / export.file_for(self.target).file for export in self.exports}

    def fill(self, folder: Path, workplace: Path) -> None:
        # Before what is measured loads the machine itself.
        threads, environment = self.target.threads, fingerprint().to_json()
        workloads = {label: Workload(str(path), self.target.runtime) for label, path in self._files.items()}
        first, question = self.exports[0].label, self.question
        plan = Plan(workloads, first, threads, 1, SECONDS, 2 * SECONDS, launches=LAUNCHES, question=question)
        place = f"latency on this CPU, {threads} thread{'s' if threads > 1 else ''}, interleaved"
        with long_step(place, plan.launches, "launches") as done:
            latency = when_quiet(partial(carry_out, progress=partial(counted, done=done)), plan)
        memory = {label: peak_memory(workload, threads) for label, workload in workloads.items()}
        content = {
            "environment": environment,
            "latency": {label: record.to_json() for label, record in latency.items()},
            "memory": {label: record.to_json() for label, record in memory.items()},
            "profiles": [self._profile(label, workloads[label]).to_json() for label in ends(list(workloads))],
        }
        write_json(folder / METRICS, content)

    def _profile(self, label: str, workload: Workload) -> ProfileRecord:
        measured = profile_against_roofline(workload, self.target.threads, runs=PROFILE_RUNS, roofs_of=self.roofs_of)
        found = measured.to_json()
        return ProfileRecord(**{**{key: found[key] for key in ProfileRecord.model_fields}, "model": label})

    def holds(self, folder: Path) -> bool:
        records = Measured(folder).latency.values()
        return all(record.valid and not record.has(POWER_OF_OTHERS) for record in records)

    def read(self, folder: Path) -> Measured:
        return Measured(folder)


def ends(labels: list[str]) -> list[str]:
    """Return the first and the last label: the teacher's and that of the network it became."""
    return list(dict.fromkeys((labels[0], labels[-1])))
