import json
import os
from pathlib import Path

import pytest

from edgekd.artifact import capture
from edgekd.errors import EdgekdError, ExportError
from edgekd.models import build
from edgekd.pipeline.export import KEY_DIGITS, export, last_stage
from edgekd.spec import MODEL, Spec


def stage(root: Path, name: str) -> Path:
    folder = root / "stages" / name
    folder.mkdir(parents=True)
    (folder / MODEL).write_text("{}")
    return folder


def test_the_last_stage_of_a_run(tmp_path):
    stage(tmp_path, "00-teacher-aaaa")
    last = stage(tmp_path, "02-quantize-aaaa")
    stage(tmp_path, "01-prune-ffff")
    assert last_stage(tmp_path) == last


@pytest.mark.parametrize("key", ["f" * 64, "0" * 64])
def test_of_a_run_that_was_changed_the_one_that_its_report_names(tmp_path, key):
    for each in ("f", "0"):
        stage(tmp_path, f"02-quantize-{each * KEY_DIGITS}")
    (tmp_path / "report.json").write_text(json.dumps({"stages": [{"name": "quantize", "key": key}]}))
    assert last_stage(tmp_path).name == f"02-quantize-{key[:KEY_DIGITS]}"


@pytest.mark.parametrize("report", ["", "[]", '{"stages": []}', '{"stages": [{"name": "prune", "key": "1"}]}'])
def test_a_report_that_names_none_of_them(tmp_path, report):
    stage(tmp_path, "01-prune-ffff")
    last = stage(tmp_path, "02-quantize-aaaa")
    (tmp_path / "report.json").write_text(report)
    assert last_stage(tmp_path) == last


def test_a_stage_is_its_own(tmp_path):
    given = stage(tmp_path, "00-teacher-aaaa")
    stage(tmp_path, "01-prune-aaaa")
    assert last_stage(given) == given


def test_a_folder_without_a_network(tmp_path):
    with pytest.raises(ExportError, match="holds no network: give a run folder, or a stage's folder"):
        last_stage(tmp_path)


def test_a_damaged_network(tmp_path):
    with pytest.raises(EdgekdError, match="is not a network that edgekd saved, or is damaged"):
        export(stage(tmp_path, "00-teacher-aaaa"), ["onnxruntime-x86"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("lies_there", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_says_nothing_of_the_network(tmp_path, lies_there):
    folder = tmp_path / "stages/00-teacher-aaaa"
    capture(build("small_cnn", (1, 8, 8), 2), Spec("small_cnn", (1, 8, 8), 2, {})).save(folder)
    (tmp_path / "exports/00-teacher-aaaa").mkdir(parents=True)
    lies_there(tmp_path / "exports/00-teacher-aaaa/model.onnx")
    with pytest.raises(ExportError, match="nothing says how its input is prepared"):
        export(folder, ["onnxruntime-x86"], tmp_path / "out")


def test_an_unknown_target_before_anything_is_read(tmp_path):
    with pytest.raises(ExportError, match="did you mean 'onnxruntime-arm'"):
        export(tmp_path / "nowhere", ["onnxruntime-arn"], tmp_path / "out")
