"""The page on the gate: its commands, its policy and its Python run as they stand, on a run with made-up figures."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from edgekd.cli import interrupt
from edgekd.cli.main import main
from edgekd.gate import load_policy
from edgekd.gate.rules import default_rules

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "ci.md").read_text()
WORKFLOWS = sorted((DOCS / "ci").glob("*.yml"))


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def place(run_folder, tmp_path, monkeypatch):
    """A folder with both runs of the page, without the trainings that lead to them."""
    (tmp_path / "runs").mkdir()
    for name in ("first", "now"):
        run_folder(name).rename(tmp_path / "runs" / name)
    shutil.copy(DOCS.parent / "recipes/quickstart.yaml", tmp_path / "recipe.yaml")
    monkeypatch.setattr(interrupt, "leave_on_signal", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(command, monkeypatch):
    monkeypatch.setattr("sys.argv", shlex.split(command))
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code


def commands(text):
    return [line for line in text.splitlines() if line.startswith("edgekd ")]


def test_the_commands_run_in_order(place, monkeypatch):
    for command in commands("".join(blocks(""))):
        short = f"{command} --dry-run" if command.startswith("edgekd run") else command
        assert call(short, monkeypatch) == 0, command
    assert (place / "baseline.json").exists()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_yaml_and_its_gate_runs(path, place, monkeypatch):
    assert call("edgekd baseline promote runs/first baseline.json", monkeypatch) == 0
    steps = yaml.safe_load(path.read_text())
    scripts = steps["edgekd"]["script"] if "edgekd" in steps else [s.get("run") for s in steps["jobs"]["gate"]["steps"]]
    gates = [script for script in scripts if script and script.startswith("edgekd check")]
    assert len(gates) == 1
    assert call(gates[0], monkeypatch) == 0
    assert (place / "edgekd.xml").exists()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_as_it_is_in_a_checkout(path):
    """What it installs and what it runs is there."""
    from edgekd.recipe import load_recipe

    document = yaml.safe_load(path.read_text())
    variables = document["edgekd"]["variables"] if "edgekd" in document else document["env"]
    assert variables["EDGEKD"] == ".[train]"
    assert load_recipe(DOCS.parent / variables["RECIPE"]).stages
    runs = [line for line in path.read_text().splitlines() if "pip install" in line or "edgekd run" in line]
    assert len(runs) == 2
    assert '"$EDGEKD"' in runs[0] and '"$RECIPE"' in runs[1]


def test_the_policy_is_one(tmp_path):
    [text] = blocks("toml")
    (tmp_path / "pyproject.toml").write_text(text)
    policy = load_policy(tmp_path / "pyproject.toml")
    assert policy.rules["accuracy"].floor == 0.9
    assert policy.rules["size_bytes"].level == "warn"


def test_the_python_runs(place, monkeypatch, capsys):
    assert call("edgekd baseline promote runs/first baseline.json", monkeypatch) == 0
    names = {}
    for block in blocks("python"):
        exec(block, names)
    assert "ok accuracy 0.00 points lost" in capsys.readouterr().out


def test_every_metric_is_on_the_page():
    assert [name for name in default_rules() if f"`{name}`" not in PAGE] == []
