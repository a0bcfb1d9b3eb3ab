"""From finished stages and measurements to the report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgekd.bench import fingerprint
from edgekd.chain.confusion import Answers, by_class
from edgekd.chain.done import Done
from edgekd.chain.evaluate import LABELS, Exported
from edgekd.chain.log import RunLog
from edgekd.chain.measure import Measured
from edgekd.chain.notes import classes_lost, not_served, skipped_target, slower
from edgekd.chain.rows import RUNTIME, Rows
from edgekd.chain.teachers import Teachers, Together
from edgekd.data import DataSet
from edgekd.recipe import Recipe, Target
from edgekd.report import schema
from edgekd.report.budget import check


def make_report(
    recipe: Recipe,
    data: DataSet,
    exports: Sequence[Exported],
    teachers: Teachers,
    together: Together | None,
    measured: Mapping[Target, Measured],
    skipped: Sequence[Target],
    log: RunLog,
    folder: Path,
    command: str,
) -> schema.Report:
    """The report of a whole run; the budget is checked on the last network in the first target's runtime."""
    of = Rows(folder, data.test.labels.numpy())
    rows = [of.pytorch(export) for export in exports]
    rows += [of.together(together)] if together else []
    rows += [of.other(export, other) for export in exports for other in export.figures["others"]]
    # The answers and sizes in the runtime are known also where no target had its latency measured.
    timed: list[tuple[Target | None, Measured | None]] = list(measured.items()) or [(None, None)]
    for target, figures in timed:
        rows += [of.runtime(export, target, figures) for export in exports]
    teacher, student = _judged(rows, exports)
    environment = next(iter(measured.values())).environment if measured else fingerprint()
    return schema.Report(
        name=recipe.name,
        recipe_sha256=recipe.sha256,
        environment=environment,
        data=schema.Data(
            name=data.name,
            fingerprint=data.fingerprint,
            classes=data.classes,
            train=len(data.labelled_only().train),
            validation=len(data.validation),
            test=len(data.test),
            labels=str((exports[-1].folder / LABELS).relative_to(folder)),
        ),
        budget=schema.Budget.of(check(recipe.budget.model_dump(), student, teacher)),
        warnings=(
            *map(skipped_target, skipped),
            *not_served(recipe, exports[-1]),
            *slower(exports, measured),
            *classes_lost(exports[0], exports[-1], data),
        ),
        rows=tuple(rows),
        stages=(
            _stage(exports[0], log),
            *(_further_teacher(done, log) for done in teachers.members[1:]),
            *(_stage(export, log) for export in exports[1:]),
        ),
        by_class=_by_class(data, exports[0], exports[-1]) if len(exports) > 1 else None,
        parity=tuple(parity for export in exports for parity in _parities(export)),
        profiles=tuple(schema.Profile(**each) for figures in measured.values() for each in figures.profiles),
        command=command,
    )


def _judged(rows: Sequence[schema.Row], exports: Sequence[Exported]) -> tuple[schema.Row, schema.Row]:
    first = [
        next(row for row in rows if row.runtime == RUNTIME and row.model == export.label)
        for export in (exports[0], exports[-1])
    ]
    return first[0], first[1]


def _by_class(data: DataSet, first: Exported, last: Exported) -> schema.ByClass:
    before, after = (
        Answers(export.label, np.load(export.folder / export.figures["predictions"])) for export in (first, last)
    )
    return by_class(data.test.labels.numpy(), before, after, data.classes, RUNTIME)


def _stage(export: Exported, log: RunLog) -> schema.Stage:
    done, figures = export.done, export.figures
    metrics = {**done.metrics, "params": figures["params"], "macs": figures["macs"]}
    return schema.Stage(name=done.name, key=done.key, seconds=log.seconds_of(done.key), metrics=metrics)


def _further_teacher(done: Done, log: RunLog) -> schema.Stage:
    return schema.Stage(name=done.name, key=done.key, seconds=log.seconds_of(done.key), metrics=done.metrics)


def _parities(export: Exported) -> list[schema.Parity]:
    return [
        schema.Parity(
            model=export.label,
            runtime=figures["runtime"],
            profile=figures["profile"],
            departs_at=figures["departs_at"],
            **figures["parity"],
        )
        for figures in (export.figures, *export.figures["others"])
    ]
