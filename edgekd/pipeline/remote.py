"""The exported files on a registered device: their latency there, in turns, and what they predict there."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgekd.artifact_cache import METRICS
from edgekd.bench import LatencyRecord, Plan, Workload
from edgekd.bench.quiet_moment import when_quiet
from edgekd.bench.validity import TRANSIENT
from edgekd.data import DataSet
from edgekd.devices.probe import Probe
from edgekd.devices.targets import RemoteTarget
from edgekd.errors import DeviceError
from edgekd.files import canonical_json, sha256, sha256_file, write_json
from edgekd.log import get_logger
from edgekd.pipeline import measure as here
from edgekd.pipeline.chunks import chunks
from edgekd.pipeline.evaluate import LEAST_AGREEMENT, Exported, departure, save_array
from edgekd.pipeline.node import Node, NodeCache
from edgekd.progress import Done, long_step
from edgekd.recipe import Target
from edgekd.runtime import RUNTIMES
from edgekd.strict_json import build_record
from edgekd.tasks.task import Task

logger = get_logger(__name__)

VERSION = 2
# Goes up with what a device's predictions are: from 2 on, outputs that are not finite predict nothing.
PREDICTIONS = 2


@dataclass(frozen=True)
class RemotePredictions:
    """What a device predicts for the test set, by the networks' labels.

    Attributes:
        predictions: names of .npy files with a row for each test sample (N, ...), see ``Task.to_rows``.
        agreement: the share of test samples that a file predicts there as it does here.
        departs_at: the first layer that the runtime there computes otherwise, looked for where predictions differ.
    """

    predictions: Mapping[str, str]
    agreement: Mapping[str, float]
    departs_at: Mapping[str, str | None]


@dataclass(frozen=True)
class RemoteMeasurement:
    """What was measured of a target: one entry for each network that it has a file of, by the network's label."""

    target: Target
    probe: Probe
    times: Path
    predicted: Path

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
    def _predictions(self) -> RemotePredictions:
        return build_record(RemotePredictions, json.loads((self.predicted / METRICS).read_text()))

    def predictions(self, label: str) -> Path:
        """Return the .npy file with a row for each test sample (N, ...), as the task keeps them."""
        return self.predicted / self._predictions.predictions[label]

    def agreement(self, label: str) -> float:
        """Return the share of test samples that the file predicts there as it does here."""
        return self._predictions.agreement[label]

    def first_mismatch(self, label: str) -> str | None:
        """Return the first layer that the runtime there computes otherwise, looked for where predictions differ."""
        return self._predictions.departs_at.get(label)


def measure_remote(
    exports: Sequence[Exported],
    target: Target,
    probe: Probe,
    data: DataSet,
    nodes: NodeCache,
    question: float = 1.0,
) -> RemoteMeasurement:
    """Measure on the device of ``probe``, which is connected to only where something is missing.

    Args:
        question: the ratio to the teacher that the budget asks about.

    Raises:
        DeviceError: the device cannot be reached, or did not predict all test samples.
    """
    held = [(export, file) for export in exports if (file := export.own_file_for(target))]
    files = {export.label: export.folder / file.file for export, file in held}
    # ONNX Runtime emulates, step by step, a runtime that is not here.
    here = {export.label: np.load(export.folder / file.predictions) for export, file in held}
    tasks = {export.label: file.fitted(data.task) for export, file in held}
    with LazyConnection(probe) as connection:
        times = nodes.make(RemoteLatencyNode(files, target, connection, question))
        predicted = nodes.make(RemotePredictionsNode(files, target, connection, here, tasks, data))
    return RemoteMeasurement(target, probe, times, predicted)


class LazyConnection:
    """A device that is connected to when it is first used, and left at the end of the ``with`` block."""

    def __init__(self, probe: Probe):
        self.probe = probe
        self._open = ExitStack()

    def __enter__(self) -> "LazyConnection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    @cached_property
    def target(self) -> RemoteTarget:
        """Return the connected device."""
        return self._open.enter_context(RemoteTarget(self.probe.device))


@dataclass(frozen=True)
class _RemoteNode(Node[Path]):
    """Something of ``files``, by their networks' labels, that is found out on a device."""

    files: Mapping[str, Path]
    target: Target
    connection: LazyConnection

    within: ClassVar[str] = "measurements"

    @property
    def _place(self) -> str:
        return f"{self.target.device}-{self.target.runtime}-{self.target.threads}"

    @cached_property
    def _about(self) -> list[Any]:
        hashes = {label: sha256_file(path) for label, path in self.files.items()}
        return [VERSION, hashes, self.target.model_dump(), self.connection.probe.identity_to_json()]

    def read(self, folder: Path) -> Path:
        return folder


@dataclass(frozen=True)
class RemoteLatencyNode(_RemoteNode):
    """The latency of each file there, interleaved."""

    question: float = 1.0

    @property
    def name(self) -> str:
        return f"{self._place}-times"

    @cached_property
    def key(self) -> str:
        plan = self._plan
        return sha256(canonical_json([*self._about, plan.seconds, plan.launches, plan.question]))

    @property
    def _plan(self) -> Plan:
        return plan_of(self.files, self.target, self.question)

    def fill(self, folder: Path, workplace: Path) -> None:
        with long_step(f"{self.name}: {len(self.files)} files in turns"):
            latency = when_quiet(self.connection.target.latency, self._plan)
        write_json(folder / METRICS, {"latency": {label: one.to_json() for label, one in latency.items()}})

    def holds(self, folder: Path) -> bool:
        return not TRANSIENT & warning_codes(folder)


@dataclass(frozen=True)
class RemotePredictionsNode(_RemoteNode):
    """What each file predicts there for the test set; ``here`` is what it predicts here, decoded by ``tasks``."""

    here: Mapping[str, NDArray[Any]]
    tasks: Mapping[str, Task]
    data: DataSet

    @property
    def name(self) -> str:
        return f"{self._place}-answers"

    @cached_property
    def key(self) -> str:
        decoders = {label: task.decoder() for label, task in self.tasks.items()}
        code = [self.data.task_code] if self.data.task_code else []
        return sha256(canonical_json([*self._about, self.data.fingerprint, PREDICTIONS, decoders, *code]))

    def fill(self, folder: Path, workplace: Path) -> None:
        files = self.files
        with long_step(self.name, len(self.data.test), "test samples") as done:
            found = predict_test_set(self.connection.target, self.target, files, self.data, done)
        agreement = {label: share_alike(self.tasks[label], found[label], self.here[label]) for label in files}
        # What drives an engine, as for TensorRT, fuses what is cut otherwise: its layers are not those of a cut file.
        can_depart = not RUNTIMES[self.target.runtime].has("remote")
        departing = [label for label, share in agreement.items() if share < LEAST_AGREEMENT and can_depart]
        departs_at = {label: self._departure(files[label]) for label in departing}
        named = {label: f"predictions-{number}.npy" for number, label in enumerate(files)}
        for label, file in named.items():
            save_array(folder / file, found[label])
        write_json(folder / METRICS, asdict(RemotePredictions(named, agreement, departs_at)))

    def _departure(self, file: Path) -> str | None:
        try:
            return departure(file, self.data, partial(self.connection.target.outputs, runtime=self.target.runtime))
        except DeviceError as error:
            # The predictions count without it.
            name = self.connection.probe.device.name
            logger.warning(f"the layer that {name} computes otherwise was not found: {error}")
            return None


def plan_of(files: Mapping[str, Path], target: Target, question: float) -> Plan:
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


def warning_codes(folder: Path) -> set[str]:
    records = json.loads((folder / METRICS).read_text())["latency"].values()
    return {warning["code"] for record in records for warning in record["warnings"]}


def share_alike(task: Task, there: NDArray[Any], here: NDArray[Any]) -> float:
    """Return the share of samples that rows of predictions there and here mean the same for."""
    return float(task.agree(task.from_rows(there), task.from_rows(here)).mean())


def predict_test_set(
    there: RemoteTarget, target: Target, files: Mapping[str, Path], data: DataSet, done: Done | None = None
) -> dict[str, NDArray[Any]]:
    """Return what each of ``files`` predicts there; ``done`` is called with the number of samples that are done."""
    parts: dict[str, list[NDArray[Any]]] = {label: [] for label in files}
    for inputs in chunks(data, data.test):
        for label, predicted in there.predict(target.runtime, files, inputs, data.task, target.threads).items():
            if predicted.cut:
                few = f"{predicted.n} of {len(predicted.reached)} samples"
                raise DeviceError(f"{target.device}: {label} predicted {few}: {predicted.cut}")
            parts[label].append(predicted.rows)
        if done is not None:
            done(sum(map(len, parts[next(iter(files))])))
    return {label: np.concatenate(each) for label, each in parts.items()}
