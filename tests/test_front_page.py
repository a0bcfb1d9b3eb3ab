"""The front page of the documentation: its commands as a newcomer types them, for real and in short."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/README.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
INSTALLATION = COMMANDS[:2]
# What ends with another code than 0 on the page, and says so there.
NOT_MET = 2


@pytest.fixture
def project(tmp_path):
    """A repository of one's own with the recipe and the workflows in it, and the command on the path."""
    for name in ("recipes", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def typed(command: str, project: Path) -> "subprocess.CompletedProcess[str]":
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Not at a terminal, and without the summary of the CI that these tests run in.
    environment = {key: value for key, value in os.environ.items() if key != "GITHUB_STEP_SUMMARY"} | {"PATH": path}
    return subprocess.run(command, shell=True, cwd=project, env=environment, capture_output=True, text=True)


def test_the_installation_is_the_readmes():
    assert INSTALLATION == ["make install", "source .venv/bin/activate"]


def test_every_command_is_one(project):
    """Its words and options are known; what takes minutes is asked for its help alone."""
    for command in COMMANDS[2:]:
        done = typed(
            f"{command} --help" if command.startswith("edgekd") else f"mkdir -p runs/first; {command}", project
        )
        assert done.returncode == 0, (command, done.stderr)
    assert (project / ".github/workflows/edgekd.yml").exists()


@pytest.mark.slow
def test_from_nothing_to_a_gate_within_ten_minutes(project):
    started, said = time.monotonic(), {}
    for command in COMMANDS[2:]:
        said[command] = typed(command, project)
        hurts = "runs/now" in command and command.startswith("edgekd")
        assert said[command].returncode == (NOT_MET if hurts else 0), (command, said[command].stderr[-2000:])
    minutes = (time.monotonic() - started) / 60
    print(f"{minutes:.1f} minutes")
    [verdict] = [done.stdout for command, done in said.items() if command.startswith("edgekd check")]
    print(verdict)
    # What, by how much, how surely, and what to do.
    assert re.search(r"fail +accuracy .* \d+\.\d\d points lost", verdict)
    assert "fail: accuracy (cpu, onnxruntime, 1 thread): " in verdict
    assert re.search(r"at least \d+\.\d\d with 95% confidence; \d+ of 360 samples lost and \d+ won, McNemar p", verdict)
    assert "if this is meant: edgekd baseline promote runs/now baseline.json --files" in verdict
    assert minutes < 10
