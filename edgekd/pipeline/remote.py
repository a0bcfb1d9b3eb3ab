"""The exported files on a registered device: their latency there, in turns, and what they answer there."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.artifact_cache import METRICS, ArtifactCache
from edgekd.bench import LatencyRecord, Plan, Workload
from edgekd.data import DataSet
from edgekd.devices.targets import IDENTIFYING_FACTS, RemoteTarget
from edgekd.errors import DeviceError
from edgekd.files import canonical_json, sha256, sha256_file, write_json
from edgekd.log import get_logger
from edgekd.pipeline import measure as here
from edgekd.pipeline.chunks import chunks
from edgekd.pipeline.evaluate import LEAST_AGREEMENT, Exported, departure, save_array
from edgekd.pipeline.evaluation import FileRecord
from edgekd.pipeline.names import ONNX_RUNTIME
from edgekd.pipeline.resolve import ProbedDevice
from edgekd.recipe import Target
from edgekd.stages.targets import file_profile

logger = get_logger(__name__)

VERSION = 2
# Doubts about times that another moment may not have.
PASSING = {"cut_short", "throttled"}


@dataclass(frozen=True)
class RemoteMeasurement:
    """What was measured of a target: one entry for each network that it has a file of, by the network's label."""

    target: Target
    site: ProbedDevice
    times: Path
    answers: Path

    @cached_property
    def _records(self) -> dict[str, LatencyRecord]:
        content = json.loads((self.times / METRICS).read_text())["latency"]
        return {label: LatencyRecord.from_json(record) for label, record in content.items()}

    @property
    def labels(self) -> list[str]:
        return list(self._records)

    def latency(self, label: str) -> LatencyRecord:
        return self._records[label]

    @cached_property
    def _answered(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.answers / METRICS).read_text())
        return content

    def predictions(self, label: str) -> Path:
        """Of a .npy file with the class of each test sample (N,)."""
        return self.answers / self._answered["predictions"][label]

    def agreement(self, label: str) -> float:
        """The share of test samples that the file answers there as it does here."""
        return float(self._answered["agreement"][label])

    def departs_at(self, label: str) -> str | None:
        """The first layer at which the runtime there leaves what the file says, looked for where answers differ."""
        layer: str | None = self._answered["departs_at"].get(label)
        return layer


def measure_remote(
    exports: Sequence[Exported],
    target: Target,
    site: ProbedDevice,
    data: DataSet,
    cache: ArtifactCache,
    question: float = 1.0,
) -> RemoteMeasurement:
    """Measures on the device, or finds what was measured before of the same files on the same device.

    Raises:
        DeviceError: the device cannot be reached, or not all test samples were answered there.
    """
    files = {export.label: file for export in exports if (file := file_for(export, target))}
    here = {export.label: local_predictions(export, target) for export in exports if export.label in files}
    hashes = {label: sha256_file(path) for label, path in files.items()}
    about = [VERSION, hashes, target.model_dump(), lasting(site)]
    name = f"{target.device}-{target.runtime}-{target.threads}"
    with _Visit(site) as visit:
        times = visit.times(f"{name}-times", about, plan_of(files, target, question), cache)
        answers = visit.answers(f"{name}-answers", [*about, data.fingerprint], target, files, here, data, cache)
    return RemoteMeasurement(target, site, times, answers)


class _Visit:
    """To a device, which is connected to only where something is missing."""

    def __init__(self, site: ProbedDevice):
        self.site = site
        self._open = ExitStack()

    def __enter__(self) -> "_Visit":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    @cached_property
    def there(self) -> RemoteTarget:
        return self._open.enter_context(RemoteTarget(self.site.device))

    def times(self, name: str, about: list[Any], plan: Plan, cache: ArtifactCache) -> Path:
        key = sha256(canonical_json([*about, plan.seconds, plan.launches, plan.question]))

        def fill(folder: Path) -> None:
            logger.info(f"  {name}: {len(plan.workloads)} files in turns")
            latency = self.there.latency(plan)
            write_json(folder / METRICS, {"latency": {label: one.to_json() for label, one in latency.items()}})

        # What was measured in trouble is measured again, in the hope of a better moment.
        with cache.kept(name, key, fill, lambda folder: not PASSING & doubts(folder)) as folder:
            return folder

    def answers(
        self,
        name: str,
        about: list[Any],
        target: Target,
        files: dict[str, Path],
        here: dict[str, NDArray[np.int64]],
        data: DataSet,
        cache: ArtifactCache,
    ) -> Path:
        key = sha256(canonical_json(about))

        def fill(folder: Path) -> None:
            logger.info(f"  {name}: {len(data.test)} test samples")
            found = answered(self.there, target, files, data)
            agreement = {label: float(np.mean(found[label] == here[label])) for label in files}
            # TensorRT fuses what it cuts otherwise: its layers are not those of a file that is cut off.
            doubted = [
                each for each, share in agreement.items() if share < LEAST_AGREEMENT and target.runtime == ONNX_RUNTIME
            ]
            departs_at = {label: self._departure(files[label], data) for label in doubted}
            named = {label: f"predictions-{number}.npy" for number, label in enumerate(files)}
            for label, file in named.items():
                save_array(folder / file, found[label].astype(np.int32))
            content = {"predictions": named, "agreement": agreement, "departs_at": departs_at}
            write_json(folder / METRICS, content)

        return cache.keep(name, key, fill)

    def _departure(self, file: Path, data: DataSet) -> str | None:
        try:
            return departure(file, data, self.there.outputs)
        except DeviceError as error:
            # The answers count without it.
            logger.warning(f"the layer that {self.site.device.name} computes otherwise was not found: {error}")
            return None


def plan_of(files: dict[str, Path], target: Target, question: float) -> Plan:
    return Plan(
        {label: Workload(str(path), target.runtime) for label, path in files.items()},
        next(iter(files)),
        target.threads,
        1,
        here.SECONDS,
        2 * here.SECONDS,
        launches=here.LAUNCHES,
        question=question,
    )


def doubts(folder: Path) -> set[str]:
    records = json.loads((folder / METRICS).read_text())["latency"].values()
    return {warning["code"] for record in records for warning in record["warnings"]}


def file_for(export: Exported, target: Target) -> Path | None:
    """The network's file for the target's runtime and processor; None where its training serves it none."""
    file = record_for(export, target)
    return export.folder / file.file if file else None


def record_for(export: Exported, target: Target) -> FileRecord | None:
    """What is known here of that file."""
    return export.evaluation.file_for(file_profile(target))


def local_predictions(export: Exported, target: Target) -> NDArray[np.int64]:
    """What its file answers here: where the file's runtime is not here, as ONNX Runtime does it step by step."""
    file = record_for(export, target)
    assert file is not None
    found: NDArray[np.int64] = np.load(export.folder / file.predictions)
    return found


def lasting(site: ProbedDevice) -> dict[str, Any]:
    facts = {key: site.facts["facts"].get(key) for key in IDENTIFYING_FACTS}
    return {**{key: site.facts.get(key) for key in ("tensorrt", "l4t", "power_mode")}, **facts}


def answered(
    there: RemoteTarget, target: Target, files: dict[str, Path], data: DataSet
) -> dict[str, NDArray[np.int64]]:
    parts: dict[str, list[NDArray[np.int64]]] = {label: [] for label in files}
    for inputs in chunks(data, data.test):
        for label, answers in there.predict(target.runtime, files, inputs, target.threads).items():
            if answers.cut:
                few = f"{answers.n} of {len(inputs)} samples"
                raise DeviceError(f"{target.device}: {label} answered {few}: {answers.cut}")
            parts[label].append(answers.classes)
    return {label: np.concatenate(each) for label, each in parts.items()}
