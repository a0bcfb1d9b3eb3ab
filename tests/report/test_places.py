"""Rows of several devices: which column says where a network ran, and how a file is called that was emulated."""

from rich.console import Console

from edgekd.formatting import columns
from edgekd.gate.row import GateRow
from edgekd.profiles import FILE_RUNTIMES
from edgekd.report.labels import row_labels
from edgekd.report.markdown import render_markdown
from edgekd.report.schema import Report, Row
from edgekd.report.table import render_table

PLACES = (
    {"runtime": "onnxruntime, unoptimised", "built_for": "onnxruntime-arm", "built_for_device": "raspberry",
     "emulates": "onnxruntime-arm", "device": "cpu"},
    {"runtime": "onnxruntime, unoptimised", "built_for": "tensorrt", "built_for_device": "jetson",
     "emulates": "tensorrt", "device": "cpu"},
    {"runtime": "onnxruntime", "device": "cpu", "threads": 1},
)  # fmt: skip


def report(*places: dict) -> Report:
    figures = {"accuracy": 1.0, "accuracy_ci95": [0.954, 1.0], "size_bytes": 35_100, "n": 80, "params": 29_000}
    ratio = {"latency_vs_teacher": {"ratio": 0.4, "ci95": [0.39, 0.41]}, "latency_ms": {"p50": 0.0612, "n": 9}}
    rows = tuple(
        Row(model=model, precision=precision, **place, **figures, **ratio)
        for model, precision in (("teacher", "float32"), ("quantized", "int8"))
        for place in places
    )
    return Report(name="parts", recipe_sha256="0" * 64, rows=rows)


def printed(found: Report, width: int) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(render_table(found))
    return capture.get().splitlines()


def test_rows_name_their_device_and_an_emulated_file_what_it_is() -> None:
    markdown = render_markdown(report(*PLACES))
    assert "| Model | Runtime | Device | Precision |" in markdown
    assert "| quantized | onnxruntime (by emulation) | raspberry | int8 |" in markdown
    assert "| quantized | tensorrt (by emulation) | jetson | int8 |" in markdown
    assert "unoptimised" not in markdown
    # Reports of before do not say so by a key of its own.
    old = [{"model": "a", "precision": "int8", **PLACES[1], "emulates": None, "built_for_device": None}]
    assert columns(old, ())[1].cell(old[0]) == "tensorrt (by emulation)"
    assert [column.heading for column in columns(old, ())] == ["Model", "Runtime", "Precision"]


def test_eighty_columns_hold_all_of_it_without_broken_words() -> None:
    lines = printed(report(*PLACES), 80)
    assert max(map(len, lines)) <= 80 and "…" not in "".join(lines)
    assert lines[1].split() == ["Model", "Where", "Precision", "Accuracy", "Size", "p50", "ms", "Times", "faster"]
    assert "by emulation: the file for that device, computed step by step on this machine." in lines
    wide = printed(report(*PLACES), 140)
    assert "Device" in wide[1] and "Runtime" in wide[1]
    assert "Device" not in printed(report(PLACES[2]), 80)[1]


def test_one_name_for_a_place_everywhere() -> None:
    found = report(*PLACES)
    assert [row.place_text for row in found.rows[:3]] == [
        "raspberry, onnxruntime (by emulation)",
        "jetson, tensorrt (by emulation)",
        "cpu, onnxruntime, 1 thread",
    ]
    row = GateRow(**{key: value for key, value in PLACES[1].items() if key != "emulates"})
    assert row.place_text == "jetson, tensorrt (by emulation)"
    assert all(profile.name.partition("-")[0] == name for name in FILE_RUNTIMES for profile in FILE_RUNTIMES[name])
    # What tells the rows of files apart stays as it was.
    assert found.rows[1].place == "cpu, onnxruntime, unoptimised, file for tensorrt"
    assert GateRow(runtime="onnxruntime, unoptimised", built_for="tensorrt").place_text == "tensorrt (by emulation)"


def test_a_point_is_called_by_profile_and_device() -> None:
    assert row_labels(report(*PLACES).rows[:3]) == [
        "teacher onnxruntime-arm raspberry",
        "teacher tensorrt jetson",
        "teacher onnxruntime cpu",
    ]
