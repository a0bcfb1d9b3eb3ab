"""A finished run that is started again: nothing is done unless something that it was made of has changed."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgekd.data import load_data
from edgekd.files import write_bytes, write_json
from edgekd.pipeline import finished
from edgekd.pipeline.finished import FINISHED
from edgekd.recipe import Recipe, load_recipe
from edgekd.report.schema import Report
from tests.report.sample import sample
from tests.toy import SHORT, write_recipe

COMMAND = "edgekd run toy.yaml"
FILES = ("stages/00-teacher-0/weights.safetensors", "exports/00-teacher-0/model.onnx", "bundle/model/a.onnx")


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    return load_recipe(write_recipe(tmp_path, SHORT))


@pytest.fixture
def folder(tmp_path, recipe) -> Path:
    """A run folder in shape, with a report of made-up figures."""
    folder = tmp_path / "run"
    for name in (*FILES, "recipe.lock.yaml", "report.html"):
        write_bytes(folder / name, name.encode())
    write_json(folder / "report.json", report().to_json())
    finished.record(folder, recipe, load_data(recipe.data, recipe.seed), report(), COMMAND)
    return folder


def report(valid: bool = True) -> Report:
    document = sample()
    return Report.from_json({**document, "rows": [{**row, "valid": valid} for row in document["rows"]]})


def test_nothing_is_left_to_do(folder, recipe, capsys):
    assert finished.finished(folder, recipe, COMMAND) == report()
    assert capsys.readouterr().err == f"{folder}: finished before, and nothing has changed since\n"


@pytest.mark.parametrize("name", [".DS_Store", ".lock", "log.jsonl", "notes.txt"])
def test_what_is_no_part_of_the_run_changes_nothing(folder, recipe, name):
    write_bytes(folder / name, b"other")
    assert finished.finished(folder, recipe, COMMAND) == report()


@pytest.mark.parametrize("name", [*FILES, "recipe.lock.yaml", "report.json", "report.html"])
def test_a_file_that_was_changed_or_removed_is_noticed(folder, recipe, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content + b" ")
    assert finished.finished(folder, recipe, COMMAND) is None
    (folder / name).unlink()
    assert finished.finished(folder, recipe, COMMAND) is None
    (folder / name).write_bytes(content)
    assert finished.finished(folder, recipe, COMMAND) is not None


@pytest.mark.parametrize(
    "name", ["bundle/more.txt", "stages/00-teacher-0/more.txt", "measurements/new/metrics.json", "stages/.DS_Store"]
)
def test_a_file_that_was_added_is_noticed(folder, recipe, name):
    write_bytes(folder / name, b"more")
    assert finished.finished(folder, recipe, COMMAND) is None


@pytest.mark.parametrize(
    "changed", ["seed: 1", "budget: {accuracy_drop: 99}", "data: {source: digits, train_limit: 399, batch_size: 50}"]
)
def test_another_recipe_is_another_run(folder, tmp_path, changed):
    key = changed.partition(":")[0]
    kept = [line for line in SHORT.splitlines() if not line.startswith(f"{key}:")]
    other = load_recipe(write_recipe(tmp_path, "\n".join([*kept, changed])))
    assert finished.finished(folder, other, COMMAND) is None


def test_so_are_another_command_another_edgekd_and_another_machine(folder, recipe, monkeypatch):
    assert finished.finished(folder, recipe, COMMAND + " --json") is None
    for name, value in (
        ("source_digest", "other"),
        ("packages", [["torch", "9"]]),
        ("cpu", SimpleNamespace(to_json=lambda: {"model": "other"})),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(finished, name, lambda value=value: value)
            assert finished.finished(folder, recipe, COMMAND) is None
    assert finished.finished(folder, recipe, COMMAND) is not None


def test_other_samples_are_noticed(folder, recipe, few_digits, monkeypatch):
    monkeypatch.setattr(finished, "load_data", lambda *_: few_digits)
    assert finished.finished(folder, recipe, COMMAND) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"key": 1, "files": [], "data": null}'])
def test_a_damaged_record_is_none(folder, recipe, content):
    (folder / FINISHED).write_text(content)
    assert finished.finished(folder, recipe, COMMAND) is None


@pytest.mark.parametrize(
    ("text", "made"),
    [
        (SHORT, report(valid=False)),
        (SHORT + "targets: [{device: jetson, architecture: arm}]\n", report()),
        (SHORT.replace("model: small_cnn\n", 'model: "net.py:net"\n'), report()),
    ],
)
def test_what_has_to_be_looked_at_again_is_not_recorded(folder, tmp_path, text, made):
    (tmp_path / "net.py").write_text("def net(): ...\n")
    other = load_recipe(write_recipe(tmp_path, text))
    (folder / FINISHED).unlink()
    finished.record(folder, other, load_data(other.data, other.seed), made, COMMAND)
    assert not (folder / FINISHED).exists()


def test_it_loads_nothing_that_only_a_run_needs():
    heavy = {
        "torchao",
        "torch_pruning",
        "lightning_fabric",
        "onnx",
        "onnxruntime",
        "matplotlib",
        "torch.onnx._internal",
    }
    program = f"import sys, edgekd.pipeline.finished; sys.exit(str({heavy!r} & set(sys.modules)))"
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert outcome.stderr == "set()\n"


def test_a_checkpoint_that_is_gone_is_left_to_the_check_of_the_recipe(folder, tmp_path):
    (tmp_path / "net.pt").write_bytes(b"weights")
    text = SHORT.replace("train: {epochs: 2, lr: 0.1}", "checkpoint: net.pt")
    other = load_recipe(write_recipe(tmp_path, text))
    finished.record(folder, other, load_data(other.data, other.seed), report(), COMMAND)
    assert finished.finished(folder, other, COMMAND) == report()
    (tmp_path / "net.pt").unlink()
    assert finished.finished(folder, other, COMMAND) is None
