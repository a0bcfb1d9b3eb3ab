"""Each stage's network as exported files, with what they predict on the test set in PyTorch and in the runtime."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgekd.arrayfiles import to_npz
from edgekd.artifact import Artifact
from edgekd.artifact_cache import METRICS
from edgekd.bench import fingerprint
from edgekd.data import DataSet, Samples
from edgekd.devices.targets import LocalTarget, RemoteTarget, resolve_target
from edgekd.errors import UnavailableError
from edgekd.export import (
    Outputs,
    Parity,
    all_outputs,
    first_mismatch,
    float_convolutions,
    parity,
    runtime_outputs,
)
from edgekd.files import canonical_json, sha256, write_bytes, write_json
from edgekd.images import to_netpbm
from edgekd.log import get_logger
from edgekd.models import count_macs, count_parameters
from edgekd.pipeline.chunks import chunks
from edgekd.pipeline.evaluation import Evaluation, FileRecord
from edgekd.pipeline.files import MEASURED, ONNX, Placing, RuntimeFile, served, write_files
from edgekd.pipeline.inventory import int8_coverage, operator_counts
from edgekd.pipeline.names import EMULATED, NAMED_SAMPLES, REFERENCE, SAMPLES
from edgekd.pipeline.node import Node
from edgekd.pipeline.stage_result import StageResult
from edgekd.profiles import DEFAULT_PROFILE, runtime_of
from edgekd.progress import track
from edgekd.quantize.placement import NO_BOUNDS, Bounds, MetricBound
from edgekd.recipe import Target
from edgekd.stages.network import build_spec, float_twin, quantization_of, restore
from edgekd.stages.targets import can_be_timed, file_profile, is_here, is_timed_here
from edgekd.tasks.logits import decoded
from edgekd.tasks.metric import Evidence
from edgekd.tasks.task import Task
from edgekd.train import outputs_of
from edgekd.train.evaluate import evidence_of

logger = get_logger(__name__)

VERSION = 7
# Goes up with the rule that placements are chosen by.
PLACING = 3
# Predictions that agree on fewer samples than this are looked into.
LEAST_AGREEMENT = 0.995
DEPARTURE_SAMPLES = 64
# The test samples' labels and predictions, in an export's folder.
LABELS = "labels.npy"
PYTORCH = "predictions-pytorch.npy"
GOLDEN_SAMPLES = 8
GOLDEN_IMAGES, MOST_GOLDEN_PIXELS = 3, 1 << 18


@dataclass(frozen=True)
class Exported:
    """One network's files and their predictions on the test set."""

    label: str
    done: StageResult
    folder: Path

    @property
    def onnx(self) -> Path:
        return self.folder / ONNX

    def file_for(self, target: Target) -> FileRecord:
        """Return the file for ``target``, or the first where the network's training serves that none."""
        return self.own_file_for(target) or self.evaluation.here

    def own_file_for(self, target: Target) -> FileRecord | None:
        """Return the file for ``target``, or None where the network's training serves it none."""
        return self.evaluation.written_for(file_profile(target))

    @cached_property
    def evaluation(self) -> Evaluation:
        return Evaluation.from_json(json.loads((self.folder / METRICS).read_text()))


@dataclass(frozen=True)
class ExportNode(Node[Exported]):
    """The files of a stage's network, and what they predict for the test set.

    Attributes:
        number: of the stage in the recipe; the teacher has 0.
        targets: of the recipe.
        judged: the one of them that the budget is judged on; the first where it is left out.
        asked: the bounds that a measured placement of int8 layers must keep.
    """

    done: StageResult
    number: int
    data: DataSet
    targets: Sequence[Target] = ()
    judged: Target | None = None
    asked: Bounds = NO_BOUNDS

    within: ClassVar[str] = "exports"

    @property
    def name(self) -> str:
        return f"{self.number:02d}-{self.done.label}"

    @cached_property
    def key(self) -> str:
        # The predictions are this runtime's on this processor: another one may saturate where this one does not.
        here = fingerprint()
        machine = [here.cpu.to_json(), here.packages]
        at = self._placed_on or self._wanted[0]
        placing = [PLACING, at.device, at.threads, self._bounds.to_json()] if self._is_placed else []
        about = ["export", VERSION, self.done.content, self.data.decoded_fingerprint, machine, self._profiles, placing]
        return sha256(canonical_json(about))

    def fill(self, folder: Path, workplace: Path) -> None:
        logger.info(f"  {self.done.label}: export and evaluation")
        started = time.monotonic()
        artifact, data = self._artifact, self.data
        network, trained = restore(artifact), quantization_of(artifact.spec).profile
        profiles = self._served
        with self._placing(profiles[0]) if self._is_placed else nullcontext() as placing:
            files = write_files(folder, network, artifact.spec, data.preprocess, data.classes, profiles, placing)
        ours = outputs_of(network, data, data.test)
        labels = data.test.labels
        save_array(folder / LABELS, (labels.int() if labels.dtype == torch.int64 else labels).numpy())
        _save_golden(folder, data)
        save_array(folder / PYTORCH, data.task.to_rows(arrays_of(ours)))
        float_network = build_spec(float_twin(artifact.spec))
        evaluation = Evaluation(
            files=tuple(_describe(folder, file, ours, data) for file in files),
            precision="int8" if trained else "float32",
            n=len(data.test),
            params=count_parameters(float_network),
            macs=count_macs(float_network, artifact.spec.inputs),
        )
        write_json(folder / METRICS, evaluation.to_json())
        logger.info(f"  {self.done.label}: exported and evaluated in {time.monotonic() - started:.0f} s")

    def read(self, folder: Path) -> Exported:
        return Exported(self.done.label, self.done, folder)

    @cached_property
    def _artifact(self) -> Artifact:
        return self.done.artifact

    @property
    def _wanted(self) -> list[Target]:
        """Return the targets, the budget's first."""
        return [*([self.judged] if self.judged else []), *self.targets] or [Target()]

    @cached_property
    def _placed_on(self) -> Target | None:
        """Return the budget's target or, where it has no file whose layers can be timed, the first that has one."""
        fit = (each for each in self._wanted if can_be_timed(each) and file_profile(each) in self._served)
        return next(fit, None)

    @property
    def _profiles(self) -> list[str]:
        # The file that is measured here comes first.
        targets = sorted(self.targets, key=lambda target: not is_here(file_profile(target)))
        return list(dict.fromkeys(map(file_profile, targets))) or [DEFAULT_PROFILE]

    @cached_property
    def _served(self) -> list[str]:
        return served(quantization_of(self._artifact.spec).profile, self._profiles)

    @property
    def _is_placed(self) -> bool:
        return quantization_of(self._artifact.spec).placement == MEASURED

    @property
    def _bounds(self) -> Bounds:
        if self.asked.metric is None:  # no budget: what the stage itself was to keep
            bound = MetricBound(self.data.task.metrics[0], self.done.metrics["floor"])
            return replace(self.asked, metric=bound)
        return self.asked

    @contextmanager
    def _placing(self, first: str) -> Iterator[Placing]:
        """Give where and for what placements are measured: without a target, the first file here if it runs here."""
        target, data = self._placed_on, self.data
        if target is None:
            here = LocalTarget() if is_timed_here(first) else None
            evidence = partial(validation_evidence, data=data, runtime=runs_in(first), optimised=is_here(first))
            yield Placing(first, 1, here, self._bounds, evidence)
            return
        with resolve_target(target.device) as at:
            evidence = partial(validation_evidence, data=data, runtime=target.runtime)
            if not isinstance(at, LocalTarget):
                evidence = partial(_evidence_there, at=at, data=data, runtime=target.runtime)
            yield Placing(file_profile(target), target.threads, at, self._bounds, evidence)


def validation_evidence(path: Path, data: DataSet, runtime: str = REFERENCE, optimised: bool = True) -> Evidence:
    """Return the evidence for the task's first metric, of the file in ``runtime`` here on the validation samples."""
    return evidence_of(torch.from_numpy(validation_rows(path, data, runtime, optimised)), data, data.validation)


def validation_rows(path: Path, data: DataSet, runtime: str = REFERENCE, optimised: bool = True) -> NDArray[Any]:
    """Return the rows (N, ...) of :meth:`Task.to_rows` for the validation samples, of the file in ``runtime`` here."""
    return data.task.to_rows(arrays_of(_outputs(path, runtime, optimised, data, data.validation)))


def runs_in(profile: str) -> str:
    """Return the runtime that computes the profile's file here: its own, or the one that emulates those not here."""
    runtime = runtime_of(profile)
    return runtime.name if runtime and is_here(profile) else REFERENCE


def _evidence_there(path: Path, at: RemoteTarget, data: DataSet, runtime: str) -> Evidence:
    files = {"asked": path}
    parts = chunks(data, data.validation)
    found = [at.predict(runtime, files, inputs, data.task)["asked"] for inputs in parts]
    if cut := next((each.cut for each in found if each.cut), None):
        raise UnavailableError(f"a placement was not scored to its end: {cut}")
    rows = np.concatenate([each.rows for each in found])
    return evidence_of(torch.from_numpy(rows), data, data.validation)


def _save_golden(folder: Path, data: DataSet) -> None:
    """Some of the test samples as they are before any scaling, from all over the set: folders come class by class."""
    n = len(data.test)
    chosen = data.test.select(torch.linspace(0, n - 1, min(GOLDEN_SAMPLES, n)).long())
    ((raw, _),) = chosen.stream([torch.arange(len(chosen))])
    if isinstance(raw, Tensor):
        save_array(folder / SAMPLES, raw.numpy())
        _save_images(folder, chosen)
    else:
        save_arrays(folder / NAMED_SAMPLES, {name: each.numpy() for name, each in raw.items()})


def _save_images(folder: Path, samples: Samples) -> None:
    """The first, the middle and the last, if they are images: files at their own size try a device's own resizing."""
    places = dict.fromkeys(torch.linspace(0, len(samples) - 1, GOLDEN_IMAGES).long().tolist())
    for number, place in enumerate(places, 1):
        if (pixels := samples.original(place)) is not None:
            suffix, content = to_netpbm(pixels, MOST_GOLDEN_PIXELS)
            write_bytes(folder / f"image-{number}{suffix}", content)


def _describe(folder: Path, file: RuntimeFile, ours: Mapping[str, Tensor], data: DataSet) -> FileRecord:
    path = folder / file.name
    model = onnx.load(path)
    emulated, runtime = not is_here(file.profile), runs_in(file.profile)
    outputs_on = partial(_outputs, path, runtime, not emulated, data)
    theirs = outputs_on(data.test)
    predictions = f"predictions-{REFERENCE if file.name == ONNX else file.profile}.npy"
    task = fitted(data, lambda: outputs_on(data.validation))
    outputs = arrays_of(theirs)
    save_array(folder / predictions, task.to_rows(outputs))
    same = parity(ours, theirs, task)
    left, convolutions = ([], 0) if emulated else float_convolutions(path, runtime)
    return FileRecord(
        file=file.name,
        profile=file.profile,
        precision=file.precision,
        placement=file.placement,
        runtime=EMULATED if emulated else runtime,
        predictions=predictions,
        parity=same,
        departs_at=None if emulated else _departure(path, runtime, same, data),
        size_bytes=path.stat().st_size,
        operators=operator_counts(model),
        int8_coverage=int8_coverage(model, file.profile, confirm=not emulated),
        convolutions=convolutions,
        float_convolutions=left,
        decoder=task.decoder(),
        details=task.details(outputs, task.targets(data.test.labels.numpy())).to_json(),
    )


def fitted(data: DataSet, outputs: Callable[[], Mapping[str, Tensor]]) -> Task:
    """Return the data's task with the decoder that is best for a network's ``outputs`` of the validation samples."""
    targets = data.task.targets(data.validation.labels.numpy())
    return data.task.fitted(lambda: arrays_of(outputs()), targets)


def arrays_of(outputs: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    return {name: each.numpy() for name, each in outputs.items()}


def _outputs(path: Path, runtime: str, optimised: bool, data: DataSet, samples: Samples) -> dict[str, Tensor]:
    """The outputs that the task decodes."""
    batches = track(data.inputs(samples), f"  {path.name}, batches", -(-len(samples) // data.batch_size))
    found = all_outputs(runtime_outputs(path, batches, optimised, runtime=runtime))
    return decoded(found, data.task.output_shapes)


def _departure(path: Path, runtime: str, same: Parity, data: DataSet) -> str | None:
    return None if same.agreement >= LEAST_AGREEMENT else departure(path, data, runtime=runtime)


def departure(path: Path, data: DataSet, outputs: Outputs | None = None, runtime: str = REFERENCE) -> str | None:
    """Return the layer of :func:`edgekd.export.first_mismatch` on some test samples."""
    samples = data.test.select(torch.arange(min(DEPARTURE_SAMPLES, len(data.test))))
    ((raw, _),) = samples.stream([torch.arange(len(samples))])
    inputs = data.to_input(raw)
    arrays = inputs.numpy() if isinstance(inputs, Tensor) else [each.numpy() for each in inputs.values()]
    found = first_mismatch(path, arrays, outputs=outputs, runtime=runtime)
    return found.layer if found else None


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    write_bytes(path, to_npz(arrays))


def save_array(path: Path, values: np.ndarray) -> None:
    buffer = BytesIO()
    np.save(buffer, values, allow_pickle=False)
    write_bytes(path, buffer.getvalue())
