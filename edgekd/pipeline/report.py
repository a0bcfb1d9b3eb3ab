"""From finished stages and measurements to the report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
import torch

from edgekd.bench import fingerprint
from edgekd.data import DataSet
from edgekd.pipeline.evaluate import LABELS, Exported
from edgekd.pipeline.log import RunLog
from edgekd.pipeline.measure import Measured
from edgekd.pipeline.node import NodeCache
from edgekd.pipeline.remote import RemoteMeasurement
from edgekd.pipeline.report_rows import Rows
from edgekd.pipeline.stage_result import StageResult
from edgekd.pipeline.target_plan import TargetPlan, plan_targets
from edgekd.pipeline.teachers import ENSEMBLE, EnsembleEvaluation, Teachers
from edgekd.pipeline.warnings import (
    data_warnings,
    lost_groups,
    not_served,
    remote_disagreement,
    skipped_target,
    slower,
)
from edgekd.recipe import Recipe, Target
from edgekd.report import schema
from edgekd.report.budget import check
from edgekd.report.deployed import judged, same_place
from edgekd.stages import Stage
from edgekd.stages.targets import file_profile
from edgekd.tasks.breakdown import Breakdown, NamedPredictions
from edgekd.tasks.registry import DEFAULT
from edgekd.tasks.task import Task
from edgekd.tasks.tensors import only


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
    nodes: NodeCache,
    command: str,
) -> schema.Report:
    """Return the report of a whole run; the budget is checked on the last network, on the first measured target."""
    folder = nodes.folder
    of = Rows(folder, data, nodes, teacher=exports[0].label)
    rows = [of.network(export.label, export.evaluation, export.folder) for export in exports]
    rows += [of.network(ENSEMBLE, together.evaluation, together.folder)] if together else []
    timed = set(map(file_profile, measured))
    others = [(export, file) for export in exports for file in export.evaluation.files[1:]]
    planned = plan_targets(recipe, {each.target.device for each in remote})
    devices = {each.profile: [one.target.device for one in planned if one.profile == each.profile] for each in planned}
    rows += [
        of.emulated(export, file, devices.get(file.profile, ())) for export, file in others if file.profile not in timed
    ]
    rows += _of_targets(of, recipe, exports, measured, remote, compared, devices)
    student = judged(rows)
    teacher = next(row for row in same_place(student, rows) if row.model == exports[0].label)
    environment = next(iter(measured.values())).environment if measured else fingerprint().to_json()
    if remote:
        environment = {**environment, "devices": {each.target.device: each.probe.to_json() for each in remote}}
    breakdown = _breakdown(data, exports[0], exports[-1]) if len(exports) > 1 else None
    skipped = [each for each in recipe.targets if each not in measured and each not in {one.target for one in remote}]
    return schema.Report(
        name=recipe.name,
        task=None if data.task.name == DEFAULT else data.task.name,
        decoder=recipe.decoding or None,
        recipe_sha256=recipe.sha256,
        environment=environment,
        data=schema.DataRecord(
            name=data.name,
            fingerprint=data.fingerprint,
            classes=data.classes,
            train=len(data.labelled_only().train),
            validation=len(data.validation),
            test=len(data.test),
            validation_of=None if data.validation_of == "train" else data.validation_of,
            labels=str((exports[-1].folder / LABELS).relative_to(folder)),
        ),
        budget=schema.BudgetRecord.of(check(recipe.budget.promises, student, teacher, data.task.metrics, folder)),
        warnings=(
            *map(skipped_target, skipped),
            *(note for each in remote for note in remote_disagreement(each)),
            *not_served(recipe, exports[-1]),
            *slower(exports, measured, remote),
            *(lost_groups(breakdown) if breakdown else ()),
            *data_warnings(data),
        ),
        targets=tuple(_target(each, exports[-1]) for each in planned),
        rows=tuple(rows),
        deployed=schema.Deployed(model=student.model, place=student.place),
        stages=(
            _stage(exports[0], log),
            *(_further_teacher(done, log) for done in teachers.members[1:]),
            *(_stage(export, log, stage) for export, stage in zip(exports[1:], recipe.stages, strict=True)),
        ),
        **(schema.broken_down(data.task, breakdown) if breakdown else {}),
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
    devices: Mapping[str, Sequence[str]],
) -> list[schema.Row]:
    """Return each network on each target; the first measured one's runtime comes last: readers look for it there."""
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
    return found or [of.here(export, devices=devices) for export in exports]


def _target(planned: TargetPlan, last: Exported) -> schema.TargetRecord:
    """The plan of a target, with the precision that its file got."""
    file = last.own_file_for(planned.target)
    got = {"precision": file.precision} if file else {}
    return schema.TargetRecord(**{**planned.to_json(), **got})


def _has(there: RemoteMeasurement | None, export: Exported) -> bool:
    return there is not None and export.label in there.labels


def _breakdown(data: DataSet, first: Exported, last: Exported) -> Breakdown | None:
    before, after = (_named(export, data.task) for export in (first, last))
    labels = data.task.targets(data.test.labels.numpy())
    pictures = partial(_pictures, data) if data.preprocess.kind == "image" else None
    return data.task.breakdown(before, after, labels, last.evaluation.here.ran_in, pictures)


def _pictures(data: DataSet, samples: Sequence[int]) -> list[np.ndarray]:
    [(images, _)] = data.test.stream([torch.tensor(samples)])
    return list(only(images).numpy())


def _named(export: Exported, task: Task) -> NamedPredictions:
    file = export.evaluation.here
    return NamedPredictions(export.label, file.fitted(task).from_rows(np.load(export.folder / file.predictions)))


def _stage(export: Exported, log: RunLog, stage: Stage | None = None) -> schema.StageRecord:
    done, evaluation = export.done, export.evaluation
    return schema.StageRecord(
        name=done.name,
        key=done.key,
        seconds=log.seconds_of(done.key),
        options=stage.model_dump(mode="json", exclude_unset=True) if stage else None,
        metrics={**done.metrics, "params": evaluation.params, "macs": evaluation.macs},
    )


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
