import json
import shlex

import pytest

from edgekd.errors import StorageError
from edgekd.files import sha256
from edgekd.gate import load_subject
from edgekd.gate.files import kept_file


@pytest.fixture
def agreed(run_folder, edgekd, tmp_path):
    path = tmp_path / "baseline.json"
    assert edgekd("baseline", "promote", run_folder("agreed"), path).code == 0
    return path


def test_a_promoted_baseline_is_small_sorted_and_the_same_each_time(agreed, edgekd, tmp_path):
    text = agreed.read_text()
    assert len(text) < 2000
    assert json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n" == text
    assert edgekd("baseline", "promote", agreed, tmp_path / "again.json").code == 0
    assert (tmp_path / "again.json").read_text() == text


def test_it_ends_with_0_and_writes_what_ci_reads(agreed, run_folder, edgekd, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    files = ["--junit", tmp_path / "out.xml", "--markdown", tmp_path / "out.md"]
    done = edgekd("check", "--baseline", agreed, "--current", run_folder("same"), *files)
    assert (done.code, done.err) == (0, "")
    assert "toy: passed" in done.out
    assert "<testsuite" in (tmp_path / "out.xml").read_text()
    assert summary.read_text() == "before\n" + (tmp_path / "out.md").read_text()


def test_it_ends_with_2_and_says_what_to_do(agreed, run_folder, edgekd):
    run = run_folder("worse", lost=60)
    done = edgekd("check", "--baseline", agreed, "--current", run)
    assert done.code == 2
    assert "fail: accuracy (cpu, onnxruntime, 1 thread): see what the change does" in done.out
    assert f"if this is meant: edgekd baseline promote {run} {agreed}" in done.out


def test_it_ends_with_3_and_names_the_facts_that_differ(agreed, run_folder, edgekd):
    done = edgekd("check", "--baseline", agreed, "--current", run_folder("other", threads=4))
    assert (done.code, done.out) == (3, "")
    assert "threads in onnxruntime: 1, now 4" in done.err


def test_files_are_kept_beside_the_baseline_and_asked_for_again(run_folder, edgekd, tmp_path):
    run = run_folder("agreed", file="model.onnx", file_sha256=sha256(b"a network"), size_bytes=9)
    (run / "model.onnx").write_bytes(b"a network")
    path = tmp_path / "baseline.json"
    done = edgekd("baseline", "promote", run, path, "--files")
    assert (done.code, done.err) == (0, "")
    [kept] = (tmp_path / "baseline-files").iterdir()
    assert f"{kept}: 9 bytes" in done.out
    worse = run_folder("worse", lost=60)
    done = edgekd("check", "--baseline", path, "--current", worse)
    assert f"if this is meant: edgekd baseline promote {worse} {path} --files" in done.out
    # A report by itself has no files: its run has.
    done = edgekd("check", "--baseline", path, "--current", worse / "report.json")
    assert f"if this is meant: edgekd baseline promote {worse} {path} --files" in done.out


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"latency_vs_teacher": None},
            "it has no ratio to the teacher's latency, so that a slower network passes, unless this was promoted with "
            "--files and 'edgekd run --beside' times the network in turns with them",
        ),
        ({"valid": False}, "the measurement was disturbed, so that a slower network is a warning at most"),
        ({"latency_vs_teacher": {"ratio": 0.25}}, "its latency has no interval, so that every later run fails"),
    ],
)
def test_what_a_baseline_cannot_hold_is_said_when_it_is_promoted(row, said, run_folder, edgekd, tmp_path):
    done = edgekd("baseline", "promote", run_folder("agreed", **row), tmp_path / "baseline.json")
    assert done.code == 0 and done.err.startswith("warning: ") and said in done.err


def test_a_run_that_misses_its_budget_is_said_when_it_is_promoted(run_folder, edgekd, tmp_path):
    run = run_folder("agreed")
    report = json.loads((run / "report.json").read_text())
    check = {"name": "accuracy_drop", "value": 2.0, "bound": 1.0, "unit": "points", "met": False}
    (run / "report.json").write_text(json.dumps({**report, "budget": {"met": False, "checks": [check]}}))
    done = edgekd("baseline", "promote", run, tmp_path / "baseline.json")
    assert done.code == 0
    assert "this run misses its own budget: later runs are compared with it, and not with the budget" in done.err


@pytest.mark.parametrize("row", [{"right": None}, {"accuracy": None}, {"n": None, "right": None}])
def test_a_run_without_its_answers_is_no_baseline(row, run_folder, edgekd, tmp_path):
    done = edgekd("baseline", "promote", run_folder("agreed", **row), tmp_path / "baseline.json")
    assert done.code == 1 and "does not keep what was predicted for each test sample" in done.err
    assert not (tmp_path / "baseline.json").exists()


def test_a_file_that_is_not_as_the_report_says_is_refused(run_folder, edgekd, tmp_path):
    files = {"file": "model.onnx", "size_bytes": 9, "file_sha256": sha256(b"a network")}
    for name, content, changed, said in (
        ("larger", b"a larger network", {}, "size_bytes: 9 bytes are said of model.onnx, which has 16"),
        ("another", b"b network", {}, "file_sha256: model.onnx is not the file that was measured"),
        ("outside", b"a network", {"file": "../outside.onnx"}, "is outside the run's folder"),
    ):
        run = run_folder(name, **{**files, **changed})
        (run / "model.onnx").write_bytes(content)
        done = edgekd("baseline", "promote", run, tmp_path / "baseline.json")
        assert done.code == 1 and said in done.err


def test_a_policy_that_judges_nothing_is_no_pass(agreed, run_folder, edgekd, tmp_path):
    metrics = ("accuracy", "latency_ratio", "size_bytes", "params", "macs", "int8_coverage", "precision", "operators")
    policy = tmp_path / "gate.toml"
    policy.write_text("".join(f"[metrics.{name}]\nlevel = 'information'\n" for name in metrics))
    done = edgekd("check", "--baseline", agreed, "--current", run_folder("same"), "--policy", policy)
    assert done.code == 3 and "no figure of them is judged" in done.err


def test_json_is_one_document(agreed, run_folder, edgekd):
    done = edgekd("check", "--baseline", agreed, "--current", run_folder("same"), "--json")
    assert json.loads(done.out)["passed"] is True


def test_a_policy_that_cannot_be_is_an_error_of_one_line(agreed, run_folder, edgekd, tmp_path):
    policy = tmp_path / "gate.toml"
    policy.write_text("[metrics.size]")
    done = edgekd("check", "--baseline", agreed, "--current", run_folder("same"), "--policy", policy)
    assert done.code == 1
    assert "did you mean 'size_bytes'" in done.err
    assert done.err.count("\n") == 1


def test_what_is_no_baseline_is_not_replaced(run_folder, edgekd):
    other = run_folder("other") / "report.json"
    before = other.read_bytes()
    done = edgekd("baseline", "promote", run_folder("agreed"), other)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"error: {other} is no baseline, so it is not replaced: name another file, or move it away\n"
    assert other.read_bytes() == before


def test_a_baseline_with_a_conflict_of_a_merge_is_replaced(agreed, run_folder, edgekd):
    whole = agreed.read_text()
    agreed.write_text(f"<<<<<<< ours\n{whole}")
    assert edgekd("baseline", "promote", run_folder("again"), agreed).code == 0
    assert agreed.read_text() == whole


def test_a_baseline_that_is_not_replaced_keeps_its_files(run_folder, edgekd, tmp_path, monkeypatch):
    path, runs = tmp_path / "baseline.json", []
    for name, content in (("first", b"a network"), ("second", b"another")):
        runs.append(run_folder(name, file="model.onnx", file_sha256=sha256(content), size_bytes=len(content)))
        (runs[-1] / "model.onnx").write_bytes(content)
    assert edgekd("baseline", "promote", runs[0], path, "--files").code == 0
    [row] = load_subject(path).rows.values()

    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("edgekd.gate.subject.write_json", full)
        assert edgekd("baseline", "promote", runs[1], path, "--files").code == 1
    assert kept_file(path, row).read_bytes() == b"a network"
    assert edgekd("baseline", "promote", runs[1], path, "--files").code == 0
    [left] = (tmp_path / "baseline-files").iterdir()
    assert left.read_bytes() == b"another"


def test_the_command_to_copy_is_one_for_a_shell(agreed, run_folder, edgekd):
    run = run_folder("it's worse", lost=60)
    said = edgekd("check", "--baseline", agreed, "--current", run).out
    [command] = [line.partition(": ")[2] for line in said.splitlines() if line.startswith("if this is meant: ")]
    assert shlex.split(command) == ["edgekd", "baseline", "promote", str(run), str(agreed)]


def test_a_verdict_is_said_before_a_file_that_cannot_be_written(agreed, run_folder, edgekd, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/dev/null/summary.md")
    done = edgekd("check", "--baseline", agreed, "--current", run_folder("same"))
    assert (done.code, done.out.splitlines()[-1]) == (1, "toy: passed")
    assert done.err.startswith("error: cannot write /dev/null/summary.md: ")
