import json

import pytest

from edgekd.errors import EdgekdError
from edgekd.files import sha256
from edgekd.gate import load_subject
from edgekd.gate.files import folder_of, keep_files, kept_file, remove_other_files
from edgekd.gate.row import GateRow

FILE = b"a network"
PLACE = "cpu, onnxruntime, 1 thread"


@pytest.fixture
def run(run_folder):
    folder = run_folder("agreed", file="exports/model.onnx", file_sha256=sha256(FILE), size_bytes=len(FILE))
    (folder / "exports").mkdir()
    (folder / "exports/model.onnx").write_bytes(FILE)
    return folder


def row_of(path):
    return load_subject(path).rows[PLACE]


def test_a_kept_file_is_found_again_by_its_hash(run, tmp_path):
    baseline = tmp_path / "baseline.json"
    [kept] = keep_files(run, baseline)
    assert kept.parent == folder_of(baseline) == tmp_path / "baseline-files"
    assert kept_file(baseline, row_of(run)) == kept
    assert kept.read_bytes() == FILE


def test_the_files_of_an_earlier_baseline_go_and_nothing_else(run, tmp_path):
    folder = folder_of(tmp_path / "baseline.json")
    folder.mkdir()
    for name in ("0123456789abcdef.onnx", "mine.onnx", ".gitattributes"):
        (folder / name).write_bytes(b"old")
    (folder / f"{'1' * 16}.onnx").symlink_to("mine.onnx")
    (folder / f"{'2' * 16}.onnx").mkdir()
    [kept] = keep_files(run, tmp_path / "baseline.json")
    assert (folder / "0123456789abcdef.onnx").exists(), "which the baseline names until the new one is written"
    remove_other_files(tmp_path / "baseline.json", [kept])
    others = {"mine.onnx", ".gitattributes", f"{'1' * 16}.onnx", f"{'2' * 16}.onnx"}
    assert {path.name for path in folder.iterdir()} == {kept.name, *others}


def test_a_file_that_is_missing_or_another_one_is_no_baseline(run, tmp_path):
    baseline = tmp_path / "baseline.json"
    with pytest.raises(EdgekdError, match="is missing: keep it with 'edgekd baseline promote --files'"):
        kept_file(baseline, row_of(run))
    [kept] = keep_files(run, baseline)
    kept.write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(EdgekdError, match="is not the file .* 'git lfs pull'"):
        kept_file(baseline, row_of(run))
    with pytest.raises(EdgekdError, match="does not say which file it is of: promote it again, with --files"):
        kept_file(baseline, GateRow())


def test_a_run_that_was_changed_is_not_kept_and_the_old_files_stay(run, tmp_path):
    baseline = tmp_path / "baseline.json"
    [kept] = keep_files(run, baseline)
    (run / "exports/model.onnx").write_bytes(b"another")
    with pytest.raises(EdgekdError, match="not as the run left it; run the recipe again"):
        keep_files(run, baseline)
    assert kept.read_bytes() == FILE
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_report_by_itself_has_no_files(run, tmp_path):
    with pytest.raises(EdgekdError, match=r"report.json is no folder"):
        keep_files(run / "report.json", tmp_path / "baseline.json")


def test_a_report_of_an_older_edgekd_is_said_to_be_one(run, tmp_path):
    document = json.loads((run / "report.json").read_text())
    del document["rows"][-1]["file_sha256"]
    (run / "report.json").write_text(json.dumps(document))
    with pytest.raises(EdgekdError, match="older edgekd and names no hashes; run the recipe again"):
        keep_files(run, tmp_path / "baseline.json")
