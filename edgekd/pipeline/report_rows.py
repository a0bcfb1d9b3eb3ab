"""The rows of a run's report: each network in each runtime."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgekd.bench import LatencyRecord
from edgekd.data import DataSet
from edgekd.files import sha256_file
from edgekd.pipeline.evaluate import PYTORCH, Exported
from edgekd.pipeline.evaluation import Evaluation, FileRecord
from edgekd.pipeline.measure import Measured
from edgekd.pipeline.names import EMULATED
from edgekd.pipeline.node import NodeCache
from edgekd.pipeline.remote import RemoteMeasurement
from edgekd.pipeline.scores import scores
from edgekd.pipeline.teachers import ENSEMBLE
from edgekd.pipeline.warnings import disagreement, file_warnings
from edgekd.recipe import Target
from edgekd.report import schema
from edgekd.strict_json import JsonObject
from edgekd.tasks.task import Task

# Details of a task that rows have, too.
CONFIDENCE = ("expected_calibration_error", "reliability", "negative_log_likelihood")


@dataclass(frozen=True)
class Where:
    """What ran a network, and what was measured of it there."""

    runtime: str
    precision: str
    device: str = "cpu"
    threads: int | None = None
    built_for: str | None = None
    built_for_device: str | None = None
    emulates: str | None = None
    latency: LatencyRecord | None = None
    peak_rss_bytes: int | None = None


@dataclass(frozen=True)
class FileFigures:
    """What rows have of an exported file."""

    file: str
    file_sha256: str
    size_bytes: int
    operators: dict[str, int]
    int8_coverage: float | None


@dataclass(frozen=True)
class Rows:
    """``folder`` is the run's, ``teacher`` a network's label; evidence in files is kept by ``nodes``."""

    folder: Path
    data: DataSet
    nodes: NodeCache
    teacher: str

    def network(self, label: str, evaluation: Evaluation, folder: Path) -> schema.Row:
        """Return the row of a network itself, in PyTorch."""
        task = evaluation.fitted(self.data.task)
        return self._row(label, evaluation, Where("pytorch", evaluation.precision), task, folder / PYTORCH)

    def emulated(self, export: Exported, file: FileRecord, devices: Sequence[str] = ()) -> schema.Row:
        """Return the row of a file that no target measures here; ONNX Runtime emulates a runtime that is not here.

        ``devices`` are those of the targets that it is for.
        """
        where = Where(
            file.runtime,
            file.precision,
            built_for=file.profile,
            built_for_device=", ".join(devices) or None,
            emulates=emulated_in(file),
        )
        task, predictions, figures = self._predicted(export, file)
        notes = disagreement(export.label, file)
        return self._row(export.label, export.evaluation, where, task, predictions, figures, notes=notes)

    def here(
        self,
        export: Exported,
        target: Target | None = None,
        measured: Measured | None = None,
        devices: Mapping[str, Sequence[str]] | None = None,
    ) -> schema.Row:
        """Return the row of the file that this machine runs, timed where a target had it measured.

        ``devices`` are those of the targets, by the profile of their file, where none had it measured.
        """
        file = export.file_for(target) if target else export.evaluation.here
        named = ", ".join((devices or {}).get(file.profile, ())) or None
        runtime = target.runtime if target else file.ran_in
        where = Where(runtime, file.precision, built_for_device=named, emulates=emulated_in(file))
        if target and measured:
            latency, memory = measured.latency[export.label], measured.memory[export.label]
            where = replace(where, threads=target.threads, latency=latency, peak_rss_bytes=memory.peak_rss_bytes)
        confidence = {name: file.details[name] for name in CONFIDENCE if name in file.details}
        task, predictions, figures = self._predicted(export, file)
        notes = file_warnings(export.label, file)
        return self._row(export.label, export.evaluation, where, task, predictions, figures, confidence, notes)

    def there(self, export: Exported, there: RemoteMeasurement) -> schema.Row:
        """Return the row of a file on another device, with its predictions and times from there."""
        target, file = there.target, export.own_file_for(there.target)
        assert file is not None
        where = Where(
            target.runtime,
            file.precision,
            device=target.device,
            threads=target.threads_there,
            latency=there.latency(export.label),
        )
        predictions, task = there.predictions(export.label), file.fitted(self.data.task)
        return self._row(export.label, export.evaluation, where, task, predictions, self._file(export, file))

    def _predicted(self, export: Exported, file: FileRecord) -> tuple[Task, Path, FileFigures]:
        return file.fitted(self.data.task), export.folder / file.predictions, self._file(export, file)

    def _row(
        self,
        label: str,
        evaluation: Evaluation,
        where: Where,
        task: Task,
        predictions: Path,
        figures: FileFigures | None = None,
        confidence: JsonObject | None = None,
        notes: Sequence[schema.Note] = (),
    ) -> schema.Row:
        latency, found = where.latency, scores(predictions, task, self.data, self.nodes)
        ratio = latency.latency_vs_reference if latency else None
        warnings = latency.warnings if latency else []
        return schema.Row(
            model=label,
            role="ensemble" if label == ENSEMBLE else "teacher" if label == self.teacher else "student",
            runtime=where.runtime,
            precision=where.precision,
            device=where.device,
            threads=where.threads,
            built_for=where.built_for,
            built_for_device=where.built_for_device,
            emulates=where.emulates,
            params=evaluation.params,
            macs=evaluation.macs,
            latency_ms=schema.Latency(**latency.latency_ms.to_json()) if latency else None,
            cost_ms=schema.Cost(**latency.cost_ms.to_json()) if latency and latency.cost_ms else None,
            latency_vs_teacher=schema.Ratio(**ratio.to_json()) if ratio else None,
            peak_rss_bytes=where.peak_rss_bytes,
            energy_mj=1000 * latency.energy.joules if latency and latency.energy else None,
            valid=latency.valid if latency else True,
            warnings=(*(schema.Note(code=each.code, message=each.message) for each in warnings), *notes),
            **found.to_json(),
            predictions=str(predictions.relative_to(self.folder)),
            **(vars(figures) if figures else {}),
            **(confidence or {}),
        )

    def _file(self, export: Exported, file: FileRecord) -> FileFigures:
        path = export.folder / file.file
        return FileFigures(
            file=str(path.relative_to(self.folder)),
            file_sha256=sha256_file(path),
            size_bytes=file.size_bytes,
            operators=dict(file.operators),
            int8_coverage=file.int8_coverage,
        )


def emulated_in(file: FileRecord) -> str | None:
    """Return the profile of a file whose predictions are by emulation, None of one that its own runtime ran."""
    return file.profile if file.runtime == EMULATED else None
