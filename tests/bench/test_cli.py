import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd.cli.bench import bundled, labelled, onnx_file, parse_shape, reference_first
from edgekd.errors import MeasurementError

COMMAND = """
import typer
from edgekd.cli.bench import bench
from edgekd.errors import EdgekdError
try:
    typer.run(bench)
except EdgekdError as error:
    raise SystemExit(f"error: {error}")
"""


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def bundle(folder: Path, manifest: object, model: bytes = b"") -> Path:
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "student.onnx").write_bytes(model)
    return folder


def test_json_document_of_a_bundle_against_a_file(light, heavy, tmp_path):
    packed = bundle(tmp_path / "packed", {"model": "student.onnx"}, light.read_bytes())
    done = run(packed, "--against", heavy, "--seconds", 0.2, "--json", "-")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    reference, student = document["models"]
    assert (document["reference"], reference["model"], student["model"]) == (
        str(heavy),
        str(heavy),
        str(packed),
    )
    assert student["latency_vs_reference"]["ratio"] < 1
    assert "latency_vs_reference" not in reference
    assert student["size_bytes"] == light.stat().st_size
    assert student["peak_rss_bytes"] > student["baseline_rss_bytes"]
    assert document["environment"]["packages"]["onnxruntime"]
    assert done.stderr.count("warning: ") >= len({w["code"] for row in document["models"] for w in row["warnings"]})


def test_table_and_file(light, tmp_path):
    done = run(light, "--seconds", 0.1, "--json", tmp_path / "figures.json")
    assert done.returncode == 0, done.stderr
    assert "p50" in done.stdout
    assert "light.onnx" in done.stdout.replace("\n", "")
    assert json.loads((tmp_path / "figures.json").read_text())["schema_version"] == 1


def test_missing_file_is_one_line():
    done = run("none.onnx")
    assert done.returncode == 1
    assert done.stderr == "error: no such file: none.onnx; give .onnx files or bundle folders\n"


def test_other_files_are_refused(tmp_path):
    (tmp_path / "weights.pt").touch()
    with pytest.raises(MeasurementError, match="edgekd run"):
        onnx_file(tmp_path / "weights.pt")


@pytest.mark.parametrize("manifest", [{}, [], {"model": 3}, {"model": "../escaped.onnx"}, {"model": "none.onnx"}])
def test_bundles_that_name_no_model_of_theirs(tmp_path, manifest):
    (tmp_path / "escaped.onnx").touch()
    with pytest.raises(MeasurementError, match=r"manifest\.json"):
        bundled(bundle(tmp_path / "packed", manifest))


def test_folder_without_manifest(tmp_path):
    with pytest.raises(MeasurementError, match=r"no manifest\.json"):
        bundled(tmp_path)


def test_labels_are_unique(light):
    assert labelled([light, light]) == {str(light): light, f"{light} (2)": light}


def test_reference_is_measured_once_unless_it_is_alone():
    a, b = Path("a"), Path("b")
    assert reference_first([b, a], None) == [b, a]
    assert reference_first([a, b], a) == [a, b]
    assert reference_first([b], a) == [a, b]
    assert reference_first([a], a) == [a, a]


def test_shapes():
    assert parse_shape("1,3,224,224") == parse_shape("1x3x224x224") == (1, 3, 224, 224)
    for wrong in ("1,3,", "a", "0,3", "-1,3"):
        with pytest.raises(MeasurementError, match="--shape"):
            parse_shape(wrong)
