"""From finished stages and measurements to the report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from edgekd.bench import fingerprint
from edgekd.data import DataSet
from edgekd.pipeline.confusion import NamedPredictions, by_class
from edgekd.pipeline.evaluate import LABELS, Exported
from edgekd.pipeline.log import RunLog
from edgekd.pipeline.measure import Measured
from edgekd.pipeline.names import ONNX_RUNTIME
from edgekd.pipeline.remote import RemoteMeasurement
from edgekd.pipeline.report_rows import Rows
from edgekd.pipeline.stage_result import StageResult
from edgekd.pipeline.teachers import ENSEMBLE, EnsembleEvaluation, Teachers
from edgekd.pipeline.warnings import (
    BY_CLASS,
    classes_lost,
    data_warnings,
    not_served,
    remote_disagreement,
    skipped_target,
    slower,
)
from edgekd.recipe import Recipe, Target
from edgekd.report import schema
from edgekd.report.budget import check
from edgekd.report.deployed import judged, same_place


def make_report(
    recipe: Recipe,
    data: DataSet,
    exports: Sequence[Exported],
    teachers: Teachers,
    together: EnsembleEvaluation | None,
    measured: Mapping[Target, Measured],
    remote: Sequence[RemoteMeasurement],
    compared: Mapping[Target, schema.AgainstBaseline],
    log: RunLog,
    folder: Path,
    command: str,
) -> schema.Report:
    """Return the report of a whole run; the budget is checked on the last network in the first target's runtime."""
    of = Rows(folder, data.test.labels.numpy(), teacher=exports[0].label)
    rows = [of.network(export.label, export.evaluation, export.folder) for export in exports]
    rows += [of.network(ENSEMBLE, together.evaluation, together.folder)] if together else []
    rows += [of.emulated(export, file) for export in exports for file in export.evaluation.files[1:]]
    rows += _of_targets(of, recipe, exports, measured, remote, compared)
    student = judged(rows)
    teacher = next(row for row in same_place(student, rows) if row.model == exports[0].label)
    environment = next(iter(measured.values())).environment if measured else fingerprint().to_json()
    if remote:
        environment = {**environment, "devices": {each.target.device: each.probe.to_json() for each in remote}}
    skipped = [each for each in recipe.targets if each not in measured and each not in {one.target for one in remote}]
    return schema.Report(
        name=recipe.name,
        recipe_sha256=recipe.sha256,
        environment=environment,
        data=schema.DataRecord(
            name=data.name,
            fingerprint=data.fingerprint,
            classes=data.classes,
            train=len(data.labelled_only().train),
            validation=len(data.validation),
            test=len(data.test),
            labels=str((exports[-1].folder / LABELS).relative_to(folder)),
        ),
        budget=schema.BudgetRecord.of(check(recipe.budget.promises, student, teacher)),
        warnings=(
            *map(skipped_target, skipped),
            *(note for each in remote for note in remote_disagreement(each)),
            *not_served(recipe, exports[-1]),
            *slower(exports, measured, remote),
            *classes_lost(exports[0], exports[-1], data),
            *data_warnings(data),
        ),
        rows=tuple(rows),
        deployed=schema.Deployed(model=student.model, place=student.place),
        stages=(
            _stage(exports[0], log),
            *(_further_teacher(done, log) for done in teachers.members[1:]),
            *(_stage(export, log) for export in exports[1:]),
        ),
        by_class=_by_class(data, exports[0], exports[-1]) if len(exports) > 1 else None,
        parity=tuple(parity for export in exports for parity in _parities(export)),
        profiles=tuple(each for figures in measured.values() for each in figures.profiles),
        command=command,
    )


def _of_targets(
    of: Rows,
    recipe: Recipe,
    exports: Sequence[Exported],
    measured: Mapping[Target, Measured],
    remote: Sequence[RemoteMeasurement],
    compared: Mapping[Target, schema.AgainstBaseline],
) -> list[schema.Row]:
    """Each network on each target; the first target's runtime comes last, because readers look for it there."""
    there = {each.target: each for each in remote}
    # A target that the last network has no file for cannot judge the recipe.
    reached = [each for each in recipe.targets if each in measured or _has(there.get(each), exports[-1])]
    found: list[schema.Row] = []
    for target in sorted(reached, key=lambda target: target.runtime == reached[0].runtime):
        if target in measured:
            found += [of.here(export, target, measured[target]) for export in exports]
        else:
            found += [of.there(export, there[target]) for export in exports if export.label in there[target].labels]
        if target in compared:
            found[-1] = found[-1].model_copy(update={"latency_vs_baseline": compared[target]})
    # The predictions and sizes in the runtime are known also where no target had its latency measured.
    return found or [of.here(export) for export in exports]


def _has(there: RemoteMeasurement | None, export: Exported) -> bool:
    return there is not None and export.label in there.labels


def _by_class(data: DataSet, first: Exported, last: Exported) -> schema.ByClass | None:
    if BY_CLASS not in last.evaluation.here.details:
        return None
    before, after = (
        NamedPredictions(export.label, np.load(export.folder / export.evaluation.here.predictions))
        for export in (first, last)
    )
    return by_class(data.test.labels.numpy(), before, after, data.classes, ONNX_RUNTIME)


def _stage(export: Exported, log: RunLog) -> schema.StageRecord:
    done, evaluation = export.done, export.evaluation
    metrics = {**done.metrics, "params": evaluation.params, "macs": evaluation.macs}
    return schema.StageRecord(name=done.name, key=done.key, seconds=log.seconds_of(done.key), metrics=metrics)


def _further_teacher(done: StageResult, log: RunLog) -> schema.StageRecord:
    return schema.StageRecord(name=done.name, key=done.key, seconds=log.seconds_of(done.key), metrics=done.metrics)


def _parities(export: Exported) -> list[schema.ParityRecord]:
    return [
        schema.ParityRecord(
            model=export.label,
            runtime=file.runtime,
            profile=file.profile,
            departs_at=file.departs_at,
            **asdict(file.parity),
        )
        for file in export.evaluation.files
    ]
