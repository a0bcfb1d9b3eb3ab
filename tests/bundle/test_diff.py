import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekd.bundle.diff import Difference, diff
from edgekd.bundle.pack import pack
from edgekd.bundle.verify import verify
from edgekd.tasks.classification import Classification

from .conftest import MEASUREMENTS, PREPROCESS
from .models import golden_of, linear_model


def test_nothing_tells_a_bundle_from_itself(bundle: Path, parts: dict[str, Any], tmp_path: Path) -> None:
    assert diff(verify(bundle), verify(pack(tmp_path / "again", **parts))) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": "thirds"}, Difference("name", "name", "halves", "thirds")),
        ({"labels": ("dark", "left", "left")}, Difference("labels", "2", "right", "left")),
        ({"labels": ("dark", "left")}, Difference("labels", "2", "right", None)),
        (
            {"preprocess": {**PREPROCESS.to_json(), "mean": [0.4]}},
            Difference("preprocess", "mean", [0.5], [0.4]),
        ),
        ({"licenses": {"model": "MIT"}}, Difference("licenses", "model", None, "MIT")),
        (
            {"lineage": {"recipe_sha256": "ab" * 32, "tools": {"edgekd": "0.2.0"}}},
            Difference("lineage", "tools edgekd", "0.1.0", "0.2.0"),
        ),
        (
            {"measurements": (MEASUREMENTS[0], {**MEASUREMENTS[1], "accuracy": 0.9})},
            Difference("measurements", "quantized onnxruntime int8 accuracy", 0.97, 0.9),
        ),
    ],
)
def test_a_difference_is_named(bundle: Path, change: dict[str, Any], expected: Difference) -> None:
    manifest = verify(bundle)
    assert diff(manifest, dataclasses.replace(manifest, **change)) == [expected]
    assert diff(dataclasses.replace(manifest, **change), manifest) == [
        dataclasses.replace(expected, a=expected.b, b=expected.a)
    ]


def test_files_differ_in_size_and_hash(bundle: Path, parts: dict[str, Any], tmp_path: Path) -> None:
    other = linear_model(tmp_path / "other.onnx", scale=0.5)
    models = {**parts["models"], "int8": other}
    again = pack(tmp_path / "again", **parts | {"models": models, "golden": golden_of(other)})
    found = {(each.part, each.item) for each in diff(verify(bundle), verify(again))}
    assert {("files", "model.int8.onnx sha256"), ("files", "triton/halves/1/model.onnx sha256")} <= found
    assert not {item for part, item in found if part == "files" and item.startswith(("model.onnx", "labels.txt"))}


def test_rows_that_are_called_the_same_are_told_apart(bundle: Path) -> None:
    manifest = verify(bundle)
    twice = dataclasses.replace(manifest, measurements=(MEASUREMENTS[0],) * 2)
    once = dataclasses.replace(manifest, measurements=(MEASUREMENTS[0],))
    [found] = diff(twice, once)
    assert (found.item, found.b) == ("teacher onnxruntime float32 again", None)


def test_the_command(edgekd: Callable[..., Any], bundle: Path, parts: dict[str, Any], tmp_path: Path) -> None:
    again = pack(tmp_path / "again", **parts)
    done = edgekd("bundle", "diff", bundle, again)
    assert (done.code, done.out) == (0, "nothing differs\n")
    pack(again, **parts | {"task": Classification(("[dark]", "left", "right"))})
    done = edgekd("bundle", "diff", bundle, again)
    assert done.code == 2
    lines = done.out.splitlines()
    assert lines[:2] == [f"A  {bundle}", f"B  {again}"] and lines[-1].endswith(" differences")
    assert lines[lines.index("labels") + 1] == "  0: dark → [dark]"
    done = edgekd("bundle", "diff", bundle, again, "--json")
    document = json.loads(done.out)
    assert (done.code, document["equal"]) == (2, False)
    assert {"part": "labels", "item": "0", "a": "dark", "b": "[dark]"} in document["differences"]
    (again / "labels.txt").unlink()
    assert edgekd("bundle", "diff", bundle, again).code == 1


@pytest.mark.parametrize(("a", "b"), [(1, 1.0), (1, True), ([1, {"a": 1}], [1, {"a": True}])])
def test_values_that_are_equal_in_python_and_not_in_json(bundle: Path, a: Any, b: Any) -> None:
    manifest = verify(bundle)
    pair = [dataclasses.replace(manifest, lineage={"x": each}) for each in (a, b)]
    assert diff(*pair) == [Difference("lineage", "x", a, b)]


def test_measurements_of_another_form_are_compared_whole(bundle: Path) -> None:
    manifest = verify(bundle)
    other = dataclasses.replace(manifest, measurements=({**MEASUREMENTS[0], "warnings": 5}, MEASUREMENTS[1]))
    assert [each.b for each in diff(manifest, other)] == [5]
