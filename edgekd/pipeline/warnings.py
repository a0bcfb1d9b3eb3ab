"""Warnings of a report: facts that its figures do not show."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from edgekd.bench import LatencyRatio, LatencyRecord
from edgekd.data import DataSet
from edgekd.formatting import place_text, runtime_text, significant
from edgekd.pipeline.evaluate import LEAST_AGREEMENT, Exported
from edgekd.pipeline.evaluation import FileRecord
from edgekd.pipeline.measure import Measured
from edgekd.pipeline.remote import RemoteMeasurement
from edgekd.pipeline.target_plan import why_not_measured
from edgekd.quantize.placement.choice import FLOAT, INT8, SIZE, PlacementResult
from edgekd.recipe import Recipe, Target
from edgekd.report import schema
from edgekd.runtime import by_session
from edgekd.stages import STAGES
from edgekd.tasks.breakdown import Breakdown
from edgekd.tasks.registry import metric_named


def file_warnings(label: str, file: FileRecord) -> list[schema.Note]:
    """Warn of what a file does otherwise than its reader would expect."""
    notes, left = [], file.float_convolutions
    if file.precision == "int8" and left:
        names = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
        is_placed_apart = file.placement is not None and file.placement.chosen != INT8
        title = by_session(file.runtime).title
        why = "by measurement" if is_placed_apart else "although they are quantised"
        message = f"{len(left)} of {file.convolutions} convolutions run in float in {title}, {why}: {names}"
        notes.append(schema.Note(code="float_convolutions", message=message))
    return notes + (_placement_notes(file.placement) if file.placement else []) + disagreement(label, file)


def _placement_notes(placement: PlacementResult) -> list[schema.Note]:
    candidates = {each.name: each for each in placement.candidates}
    notes = []
    if "size" in placement.missed:
        message = "no placement of int8 layers is within the size that the budget allows"
        notes.append(schema.Note(code="no_placement_fits", message=message))
    if metric := next((name for name in placement.missed if name != SIZE), None):
        which = "no placement" if not any(each.accepted for each in candidates.values()) else "no faster placement"
        message = (
            f"{which} keeps the {metric_named(metric).title} that is needed on the validation samples; of those that "
            "the samples cannot tell from the best, this is the fastest"
        )
        notes.append(schema.Note(code="no_placement_fits", message=message))
    elif placement.chosen == FLOAT:
        code, why = (
            ("int8_not_faster", "takes longer")
            if candidates[INT8].is_slower
            else ("int8_not_accurate", "is not accurate enough")
        )
        notes.append(schema.Note(code=code, message=f"this file is float: in int8 the network {why}"))
    return notes


def disagreement(label: str, file: FileRecord) -> list[schema.Note]:
    """Warn where a file predicts otherwise than its network, or nothing."""
    agreement, lost = file.parity.agreement, file.parity.not_finite
    runtime, notes = runtime_text(file.runtime, file.profile), []
    if lost:
        way_out = "keep the network in float32, or equalise its layers (quantize with equalize: true)"
        message = (
            f"{label} gives no finite numbers for {lost} of {file.parity.n} test samples in {runtime}, and predicts "
            f"nothing there{f': {way_out}' if file.precision == 'float16' else ''}"
        )
        notes.append(schema.Note(code="outputs_not_finite", message=message))
    if agreement < LEAST_AGREEMENT:
        where = f"; it departs from what the file says at {file.departs_at}" if file.departs_at else ""
        message = f"{label} predicts as PyTorch does on only {agreement:.1%} of the test samples in {runtime}{where}"
        notes.append(schema.Note(code="runtime_disagrees", message=message))
    return notes


def slower(
    exports: Sequence[Exported], measured: Mapping[Target, Measured], remote: Sequence[RemoteMeasurement]
) -> list[schema.Note]:
    """Warn wherever a quantised file, or a pruned network's, is surely slower than the one that it came from.

    Nothing else shows such a slowdown, and the figure is the quotient of the ratios that the report's rows show. A file
    that is in int8 for a bound alone is warned of unless it is surely faster.
    """
    records = {target: figures.latency for target, figures in measured.items()}
    records |= {there.target: {label: there.latency(label) for label in there.labels} for there in remote}
    notes = []
    for before, after in pairwise(exports):
        for target, latency in records.items():
            file, older = after.file_for(target), before.file_for(target)
            why = _why_slower(file, older, after.done.name)
            if why is None or not {before.label, after.label} <= set(latency):
                continue
            ours, theirs = latency[after.label], latency[before.label]
            if not (ours.valid and theirs.valid):
                continue
            if is_surely_slower(ours, theirs):
                times = significant(_to_reference(ours).ratio / _to_reference(theirs).ratio)
                says = f"takes {times} times as long as {before.label}"
                notes.append(schema.Note(code=why.code, message=_said(after.label, says, target, why.reason)))
            elif why.is_for_bound and not is_surely_slower(theirs, ours):
                code, says = f"{file.precision}_not_faster_than_float", f"is not surely faster than {before.label}"
                notes.append(schema.Note(code=code, message=_said(after.label, says, target, why.reason)))
    return notes


def _said(label: str, says: str, target: Target, reason: str) -> str:
    return f"{label} {says} on {named(target)}: {reason}"


class _Slow(NamedTuple):
    code: str
    reason: str
    is_for_bound: bool = False


SMALLER = "it is smaller, not faster, on this processor"


def _why_slower(file: FileRecord, before: FileRecord, stage: str) -> _Slow | None:
    if before.precision == "float32" != file.precision:
        slower_for = file.placement.slower_for if file.placement else None
        return _Slow(f"{file.precision}_slower_than_float", _reason(slower_for), slower_for is not None)
    kind = STAGES.get(stage)
    return _Slow(f"{kind.product}_slower_than_before", SMALLER) if kind and kind.shrinks else None


def _reason(bound: str | None) -> str:
    if bound is None:
        return SMALLER
    if bound == SIZE:
        return "its float file is larger than the budget allows"
    title = metric_named(bound).title
    return f"its float file is surely worse in {title}, and misses the {title} that is needed"


def is_surely_slower(ours: LatencyRecord, theirs: LatencyRecord) -> bool:
    """Tell whether ``ours`` costs more than ``theirs`` with 95 % confidence, by the ratios of both to one reference."""
    one, other = _to_reference(ours), _to_reference(theirs)
    if one.ci95 is None or other.ci95 is None:
        return False
    reach = math.hypot(math.log(one.ratio / one.ci95[0]), math.log(other.ci95[1] / other.ratio))
    return math.log(one.ratio / other.ratio) > reach


def _to_reference(record: LatencyRecord) -> LatencyRatio:
    return record.latency_vs_reference or LatencyRatio(1.0, (1.0, 1.0))


def lost_groups(breakdown: Breakdown) -> list[schema.Note]:
    """Warn of each class or label that the student predicts much worse, whatever the metrics say."""
    return [schema.Note(code=each.code, message=each.message) for each in breakdown.lost()]


def data_warnings(data: DataSet) -> list[schema.Note]:
    """Warn of each thing in the data that makes figures on them unreliable."""
    return [schema.Note(code=each.code, message=each.message) for each in data.warnings]


def named(target: Target) -> str:
    """Name a target as rows of reports name their places."""
    return place_text({"device": target.device, "runtime": target.runtime})


def skipped_target(target: Target) -> schema.Note:
    """Warn that a target's device was not there to be measured, and say the way out."""
    message = f"nothing was measured on {named(target)}: {why_not_measured(target)}"
    return schema.Note(code="target_skipped", message=message)


def remote_disagreement(there: RemoteMeasurement) -> list[schema.Note]:
    """Warn of each file that predicts otherwise on its device than it does here."""
    where = named(there.target)
    return [
        schema.Note(
            code="device_disagrees",
            message=f"{label} predicts on {where} as it does here on only {there.agreement(label):.1%} of the test "
            f"samples{_departing(there, label)}: trust the figures of the device it will run on",
        )
        for label in there.labels
        if there.agreement(label) < LEAST_AGREEMENT
    ]


def _departing(there: RemoteMeasurement, label: str) -> str:
    layer = there.first_mismatch(label)
    return f"; it departs from what the file says at {layer}" if layer else ""


def not_served(recipe: Recipe, last: Exported) -> list[schema.Note]:
    """Warn of each target that the way of quantising gives no file for."""
    return [
        schema.Note(
            code="target_not_served",
            message=f"there is no file for {named(target)}: the network was quantised for another "
            "runtime; leave quantize.profile out, or set it to portable",
        )
        for target in recipe.targets
        if last.own_file_for(target) is None
    ]
