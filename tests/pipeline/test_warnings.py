"""What a report warns of, on made-up files and times."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgekd.bench import LatencyRatio, LatencyRecord, LatencySummary, MeasurementWarning
from edgekd.export import Parity
from edgekd.formatting import significant
from edgekd.pipeline.evaluate import Exported
from edgekd.pipeline.evaluation import Evaluation, FileRecord
from edgekd.pipeline.stage_result import StageResult
from edgekd.pipeline.warnings import file_warnings, slower
from edgekd.quantize.placement import PlacementCandidate, PlacementResult
from edgekd.recipe import Target
from edgekd.report.schema import Report, Row
from edgekd.report.steps import steps

CPU = Target(device="cpu", runtime="onnxruntime")
DETAILS = {
    **{"right_by_class": [5, 5], "expected_calibration_error": 0.0, "negative_log_likelihood": 0.1},
    "reliability": [{"n": 10, "confidence": 1.0, "accuracy": 1.0}],
}


def file_record(**more: Any) -> FileRecord:
    whole: dict[str, Any] = {
        **{"file": "model.onnx", "profile": "onnxruntime-x86", "precision": "float32", "placement": None},
        **{"runtime": "onnxruntime", "predictions": "predictions.npy", "details": DETAILS},
        **{"parity": Parity(1.0, 0.0, 10, 0.0, 0.0), "departs_at": None, "size_bytes": 1000},
        **{"operators": {"Gemm": 1}, "int8_coverage": 0.0, "convolutions": 0, "float_convolutions": ()},
    }
    return FileRecord(**{**whole, **more})


def export(label: str, stage: str = "distill", **more: Any) -> Exported:
    exported = Exported(label, StageResult(stage, label, "", Path()), Path())
    vars(exported)["evaluation"] = Evaluation((file_record(**more),), "float32", 10, 100, 1000)
    return exported


def placement(chosen: str, ratio: float | None = 1.3, accepted: bool = True, **more: Any) -> PlacementResult:
    ratios = {"int8": ratio, "float": 1.0, "mixed": 1.1}
    candidates = tuple(PlacementCandidate(name, (), each, None, accepted) for name, each in ratios.items())
    return PlacementResult(chosen, candidates, **more)


def record(ns: int, to_teacher: float | None) -> LatencyRecord:
    against = LatencyRatio(to_teacher, (0.99 * to_teacher, 1.01 * to_teacher)) if to_teacher else None
    latency = LatencySummary(ns / 1e6, ns / 1e6, 108, ns / 1e6)
    return LatencyRecord(latency, None, None, 1, 1, [], [], latency_vs_reference=against)


def notes(*exports: Any, **records: LatencyRecord) -> list[tuple[str, str]]:
    measured: Any = {CPU: SimpleNamespace(latency=records)}
    return [(note.code, note.message) for note in slower(exports, measured, [])]


@pytest.mark.parametrize(
    ("slower_for", "why"),
    [
        ("size", "its float file is larger than the budget allows"),
        ("accuracy", "its float file is surely worse in accuracy, and misses the accuracy that is needed"),
        (None, "it is smaller, not faster, on this processor"),
    ],
)
def test_a_slowdown_is_told_once_with_its_reason_and_the_figure_of_the_rows(slower_for, why):
    placed = placement("int8", slower_for=slower_for)
    before, after = export("distilled"), export("quantized", "quantize", precision="int8", placement=placed)
    found = notes(before, after, distilled=record(1000, 0.5), quantized=record(1230, 0.61))
    assert found == [
        ("int8_slower_than_float", f"quantized takes 1.22 times as long as distilled on cpu, onnxruntime: {why}")
    ]
    assert file_warnings("quantized", after.evaluation.here) == []


def test_a_file_that_may_be_as_fast_is_not_called_slower():
    before, after = export("teacher"), export("quantized", "quantize", precision="int8", placement=placement("int8"))
    assert notes(before, after, teacher=record(1000, None), quantized=record(1000, 1.0)) == []
    assert notes(before, after, teacher=record(1000, None)) == []


def test_a_file_that_a_bound_has_made_int8_and_is_not_surely_faster_is_told():
    placed = placement("int8", slower_for="size")
    before, after = export("pruned"), export("quantized", "quantize", precision="int8", placement=placed)
    assert notes(before, after, pruned=record(1000, 0.75), quantized=record(1010, 0.76)) == [
        (
            "int8_not_faster_than_float",
            "quantized is not surely faster than pruned on cpu, onnxruntime: its float file is larger than the budget "
            "allows",
        )
    ]
    assert notes(before, after, pruned=record(1000, 0.75), quantized=record(900, 0.66)) == []


def test_a_slowdown_that_others_may_have_made_is_not_told():
    before, after = export("teacher"), export("quantized", "quantize", precision="int8", placement=placement("int8"))
    assert notes(before, after, teacher=record(1000, None), quantized=record(3000, 1.005)) == []
    taken = (MeasurementWarning("others_took_time", "others took it all"),)
    unclear = replace(record(3000, 1.4), warnings=taken)
    assert notes(before, after, teacher=record(1000, None), quantized=unclear) == []


@pytest.mark.parametrize(
    ("stage", "figures", "code"),
    [
        ("prune", {}, "pruned_slower_than_before"),
        ("quantize", {"precision": "float16"}, "float16_slower_than_float"),
        ("quantize", {"precision": "int8"}, "int8_slower_than_float"),
    ],
)
def test_every_way_to_be_slower_has_a_code(stage, figures, code):
    before, after = export("teacher"), export("smaller", stage, **figures)
    [(found, message)] = notes(before, after, teacher=record(1000, None), smaller=record(1400, 1.4))
    assert (found, "takes 1.40 times as long as teacher" in message) == (code, True)


@pytest.mark.parametrize(
    ("placed", "code", "words"),
    [
        (placement("float"), "int8_not_faster", "in int8 the network takes longer"),
        (placement("float", 0.6), "int8_not_accurate", "in int8 the network is not accurate enough"),
        (placement("float", None), "int8_not_accurate", "in int8 the network is not accurate enough"),
        (placement("float", missed=("accuracy",)), "no_placement_fits", "no faster placement keeps the accuracy"),
        (placement("int8", missed=("size",)), "no_placement_fits", "no placement of int8 layers is within the size"),
    ],
)
def test_why_a_placement_was_chosen(placed, code, words):
    [note] = file_warnings("quantized", file_record(placement=placed))
    assert note.code == code
    assert words in note.message
    assert "times" not in note.message  # the figure of a slowdown stands next to what was measured at the end


def test_no_placement_at_all_keeps_the_accuracy():
    placed = placement("float", accepted=False, missed=("accuracy",))
    [note] = file_warnings("quantized", file_record(placement=placed))
    assert note.message.startswith("no placement keeps the accuracy")


def test_the_steps_of_the_report_show_the_same_quotient():
    assert significant(0.61 / 0.5) == "1.22"
    rows = [
        Row(model=name, runtime="onnxruntime", precision="int8", latency_vs_teacher={"ratio": ratio})
        for name, ratio in (("distilled", 0.5), ("quantized", 0.61))
    ]
    [step] = steps(Report(name="run", recipe_sha256="0", rows=tuple(rows)))
    assert step.latency == "1.22× slower"


def test_a_file_whose_numbers_overflow_is_said():
    one = Parity(0.998, 0.1, 500, 1.0, 0.1, not_finite=1)
    [note] = file_warnings("quantized", file_record(precision="float16", parity=one))
    assert note.code == "outputs_not_finite"
    assert note.message == (
        "quantized gives no finite numbers for 1 of 500 test samples in onnxruntime, and predicts nothing there: keep "
        "the network in float32, or equalise its layers (quantize with equalize: true)"
    )
    many = replace(one, agreement=0.9, not_finite=50)
    assert [each.code for each in file_warnings("quantized", file_record(parity=many))] == [
        *("outputs_not_finite", "runtime_disagrees")
    ]
