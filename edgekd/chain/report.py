"""From finished stages and measurements to the report."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from edgekd.bench import fingerprint, ratio_over_sittings, wilson_interval
from edgekd.chain.done import Done
from edgekd.chain.evaluate import LABELS, LEAST_AGREEMENT, Exported
from edgekd.chain.log import RunLog
from edgekd.chain.measure import Measured
from edgekd.chain.targets import file_profile
from edgekd.chain.teachers import ENSEMBLE, Teachers, Together
from edgekd.data import DataSet
from edgekd.recipe import Recipe, Target
from edgekd.report import schema
from edgekd.report.budget import check

RUNTIME = "onnxruntime"
# Points of accuracy that a class may lose to the teacher before it is named.
MOST_LOST = 3
SLOWER = {"int8_slower_than_float": "the int8 file", "pruned_slower_than_before": "the pruned network"}


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
    rows = [_pytorch_row(export, folder) for export in exports]
    rows += [_together_row(together, folder)] if together else []
    rows += [_other_row(export, other, folder) for export in exports for other in export.figures["others"]]
    # The answers and sizes in the runtime are known also where no target had its latency measured.
    timed: list[tuple[Target | None, Measured | None]] = list(measured.items()) or [(None, None)]
    for target, figures in timed:
        rows += [_runtime_row(export, target, figures, folder) for export in exports]
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
            *map(_skipped, skipped),
            *_not_served(recipe, exports[-1]),
            *_slower(exports, measured),
            *_lost(exports[0], exports[-1], data),
        ),
        rows=tuple(rows),
        stages=(
            _stage(exports[0], log),
            *(_further_teacher(done, log) for done in teachers.members[1:]),
            *(_stage(export, log) for export in exports[1:]),
        ),
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


def _pytorch_row(export: Exported, folder: Path) -> schema.Row:
    figures = export.figures
    return schema.Row(
        model=export.label,
        runtime="pytorch",
        precision=figures["precision_pytorch"],
        device="cpu",
        params=figures["params"],
        macs=figures["macs"],
        **_accuracy(export, export.figures["correct_pytorch"], "predictions-pytorch.npy", folder),
    )


def _together_row(together: Together, folder: Path) -> schema.Row:
    figures = together.figures
    return schema.Row(
        model=ENSEMBLE,
        runtime="pytorch",
        precision="float32",
        device="cpu",
        params=figures["params"],
        macs=figures["macs"],
        **_accuracy(together, figures["correct_pytorch"], "predictions-pytorch.npy", folder),
    )


def _other_row(export: Exported, other: Mapping[str, Any], folder: Path) -> schema.Row:
    """The file for a runtime that is not here, with what ONNX Runtime makes of it step by step."""
    return schema.Row(
        model=export.label,
        runtime=other["runtime"],
        precision=other["precision"],
        device="cpu",
        size_bytes=other["size_bytes"],
        params=export.figures["params"],
        macs=export.figures["macs"],
        operators=other["operators"],
        int8_coverage=other["int8_coverage"],
        warnings=tuple(_disagreement(export.label, other)),
        file=str((export.folder / other["file"]).relative_to(folder)),
        **_accuracy(export, other["correct"], other["predictions"], folder),
    )


def _runtime_row(export: Exported, target: Target | None, measured: Measured | None, folder: Path) -> schema.Row:
    figures = export.figures
    timing, notes = _timing(export, target, measured) if target and measured else ({}, [])
    return schema.Row(
        model=export.label,
        runtime=RUNTIME,
        precision=figures["precision"],
        device="cpu",
        size_bytes=figures["size_bytes"],
        params=figures["params"],
        macs=figures["macs"],
        operators=figures["operators"],
        int8_coverage=figures["int8_coverage"],
        warnings=tuple(notes + _doubts(export)),
        file=str(export.onnx.relative_to(folder)),
        expected_calibration_error=figures["expected_calibration_error"],
        negative_log_likelihood=figures["negative_log_likelihood"],
        **timing,
        **_accuracy(export, figures["correct"], figures["predictions"], folder),
    )


def _timing(export: Exported, target: Target, measured: Measured) -> tuple[dict[str, Any], list[schema.Note]]:
    latency = measured.latency[export.label]
    ratio = latency.latency_vs_reference
    figures = {
        "threads": target.threads,
        "latency_ms": schema.Latency(**latency.latency_ms),
        "latency_vs_teacher": schema.Ratio(**ratio) if ratio else None,
        "peak_rss_bytes": measured.memory[export.label].peak_rss_bytes,
        "valid": latency.valid,
    }
    return figures, [schema.Note(code=caution.code, message=caution.message) for caution in latency.warnings]


def _accuracy(export: Exported | Together, correct: int, predictions: str, folder: Path) -> dict:
    n = export.figures["n"]
    return {
        "accuracy": correct / n,
        "accuracy_ci95": wilson_interval(correct, n),
        "n": n,
        "predictions": str((export.folder / predictions).relative_to(folder)),
    }


def _doubts(export: Exported) -> list[schema.Note]:
    figures, notes = export.figures, []
    left = figures["float_convolutions"]
    if figures["precision"] == "int8" and left:
        names = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
        why = "by measurement" if _is_placed_apart(figures) else "although they are quantised"
        message = f"{len(left)} of {figures['convolutions']} convolutions run in float in ONNX Runtime, {why}: {names}"
        notes.append(schema.Note(code="float_convolutions", message=message))
    return notes + _placement_notes(figures) + _disagreement(export.label, figures)


def _is_placed_apart(figures: Mapping[str, Any]) -> bool:
    placement = figures["placement"]
    return placement is not None and placement["chosen"] != "int8"


def _placement_notes(figures: Mapping[str, Any]) -> list[schema.Note]:
    placement = figures["placement"]
    if placement is None:
        return []
    candidates = {each["name"]: each for each in placement["candidates"]}
    if not any(each["accepted"] for each in candidates.values()):
        message = "no placement keeps the budget's accuracy and size on the validation samples; this one is all int8"
        return [schema.Note(code="no_placement_fits", message=message)]
    if placement["chosen"] == "float":
        ratio = candidates["int8"]["ratio"]
        message = f"this file is float: in int8 the network takes {ratio:.2f} times as long on this machine"
        return [schema.Note(code="int8_not_faster", message=message)]
    if candidates[placement["chosen"]]["ratio"] > 1:
        ratio = candidates[placement["chosen"]]["ratio"]
        message = f"this file takes {ratio:.2f} times as long as in float, which the budget has no room for"
        return [schema.Note(code="int8_slower_than_float", message=message)]
    return []


def _disagreement(label: str, figures: Mapping[str, Any]) -> list[schema.Note]:
    agreement = figures["parity"]["agreement"]
    if agreement >= LEAST_AGREEMENT:
        return []
    where = f"; it departs from what the file says at {figures['departs_at']}" if figures["departs_at"] else ""
    message = (
        f"{label} answers as PyTorch does on only {agreement:.1%} of the test samples in {figures['runtime']}{where}"
    )
    return [schema.Note(code="runtime_disagrees", message=message)]


def _slower(exports: Sequence[Exported], measured: Mapping[Target, Measured]) -> list[schema.Note]:
    """A warning wherever an int8 file, or a pruned network's, is surely slower than the one that it came from."""
    notes = []
    for before, after in pairwise(exports):
        code = _why_slower(before, after)
        if code is None:
            continue
        for target, figures in measured.items():
            ours, theirs = (figures.latency[export.label].raw_ns for export in (after, before))
            ratio, interval = ratio_over_sittings(ours, theirs)
            if interval and interval[0] > 1:
                message = (
                    f"on {target.device}/{target.runtime} {SLOWER[code]} takes {ratio:.2f} times as "
                    f"long as {before.label}: it is smaller, not faster, on this processor"
                )
                notes.append(schema.Note(code=code, message=message))
    return notes


def _lost(teacher: Exported, student: Exported, data: DataSet) -> list[schema.Note]:
    """A warning for each class that the student answers much worse than the teacher, whatever the accuracy says."""
    counts = torch.bincount(data.test.labels, minlength=len(data.classes)).tolist()
    rights = (teacher.figures["right_by_class"], student.figures["right_by_class"])
    return [
        schema.Note(
            code="class_lost",
            message=f"{student.label} answers {after / count:.1%} of class {name!r} rightly and the teacher "
            f"{before / count:.1%}, on {count} test samples",
        )
        for name, count, before, after in zip(data.classes, counts, *rights, strict=True)
        if count and 100 * (before - after) > MOST_LOST * count
    ]


def _why_slower(before: Exported, after: Exported) -> str | None:
    if (before.figures["precision"], after.figures["precision"]) == ("float32", "int8"):
        return "int8_slower_than_float"
    return "pruned_slower_than_before" if after.done.name == "prune" else None


def _skipped(target: Target) -> schema.Note:
    return schema.Note(
        code="target_skipped",
        message=f"nothing was measured for {target.device}/{target.runtime}: this version measures on "
        "cpu/onnxruntime only; the exported ONNX files can be timed there by hand",
    )


def _not_served(recipe: Recipe, last: Exported) -> list[schema.Note]:
    """A warning for each target that the way of quantising gives no file for."""
    written = {figures["profile"] for figures in (last.figures, *last.figures["others"])}
    return [
        schema.Note(
            code="target_not_served",
            message=f"there is no file for {target.device}/{target.runtime}: the network was quantised for another "
            "runtime; leave quantize.profile out, or set it to portable",
        )
        for target in recipe.targets
        if file_profile(target) not in written
    ]


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
