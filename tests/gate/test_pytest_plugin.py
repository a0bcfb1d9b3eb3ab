import subprocess
import sys

from edgekd.gate import load_subject

TEST = """
def test_gate(assert_no_regression):
    verdict = assert_no_regression({run!r}, {baseline!r})
    assert verdict.passed
"""


def outcome(tmp_path, run, baseline):
    """A real pytest, in a folder of its own; the plugin is found by its entry point."""
    folder = tmp_path / f"suite-{run.name}"
    folder.mkdir()
    (folder / "test_gate.py").write_text(TEST.format(run=str(run), baseline=str(baseline)))
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", folder, folder]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def test_a_suite_passes_and_fails_with_the_run(run_folder, tmp_path):
    baseline = tmp_path / "baseline.json"
    load_subject(run_folder("before")).save(baseline)
    same, worse = (
        outcome(tmp_path, run_folder("same"), baseline),
        outcome(tmp_path, run_folder("worse", lost=60), baseline),
    )
    assert same.returncode == 0, same.stdout
    assert worse.returncode == 1
    assert "3.00 points lost, at least" in worse.stdout
