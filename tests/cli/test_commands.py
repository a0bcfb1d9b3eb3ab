"""The commands that need no training: what they print."""

import json
import re

import pytest

from edgekd import __version__
from edgekd.cli.main import COMMANDS

NAME = "n" * 300


def test_init_writes_a_recipe_that_checks(edgekd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert edgekd("init").code == 0
    assert ":10: data.path: there is no " in edgekd("recipe", "check", "recipe.yaml").err
    for part in ("train", "test"):
        (tmp_path / "data/my-images" / part / "cat").mkdir(parents=True)
        (tmp_path / "data/my-images" / part / "cat/1.png").write_bytes(b"a picture")
    assert edgekd("recipe", "check", "recipe.yaml").code == 0
    again = edgekd("init")
    assert (again.code, again.err) == (
        1,
        "error: recipe.yaml is there already: name another file, or remove it first\n",
    )


def test_the_schema_is_json(edgekd):
    assert json.loads(edgekd("recipe", "schema").out)["properties"]["stages"]


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(edgekd, tmp_path):
    from tests.toy import write_recipe

    outcome = edgekd("run", write_recipe(tmp_path), "--out", tmp_path / "run", "--dry-run")
    assert outcome.code == 0
    assert outcome.out.splitlines()[0] == "toy: teacher -> distill -> prune -> quantize"
    assert "360 training, 40 validation, 100 test samples" in outcome.out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("report", NAME),
        ("bench", f"{NAME}.onnx"),
        ("profile", f"{NAME}.onnx"),
        ("lint", f"{NAME}.onnx", "--target", "tensorrt"),
        ("check", "--baseline", NAME, "--current", NAME),
        ("baseline", "promote", NAME, "baseline.json"),
        ("bundle", "pack", NAME),
        ("bundle", "verify", NAME),
        ("predict", NAME, "a.png"),
        ("export", NAME, "--target", "onnxruntime-x86"),
        ("run", f"{NAME}.yaml"),
    ],
    ids=lambda words: words[0],
)
def test_a_name_that_no_file_can_have_is_a_mistake_in_the_use(edgekd, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    outcome = edgekd(*words)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.count("\n") == 1
    assert "File name too long" in outcome.err
    assert "report it" not in outcome.err


@pytest.mark.parametrize("model", [f"{NAME}.onnx", f"{NAME}/model.onnx", "a\0b.onnx", "", "../a.onnx", "loop"])
def test_a_bundle_to_be_timed_names_a_file_in_it(edgekd, tmp_path, model):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "a.onnx").touch()
    (tmp_path / "bundle" / "loop").symlink_to("loop")
    (tmp_path / "bundle" / "manifest.json").write_text(json.dumps({"model": model}))
    outcome = edgekd("bench", tmp_path / "bundle")
    assert outcome.code == 1
    assert "names no model" in outcome.err or "the model is not in the bundle" in outcome.err


def test_alone_it_says_how_to_begin(edgekd):
    outcome = edgekd()
    assert (outcome.code, outcome.err) == (0, "")
    assert "edgekd init " in outcome.out
    assert "edgekd run recipe.yaml " in outcome.out
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", outcome.out)
    assert all(len(line) <= 80 for line in outcome.out.splitlines())


def test_a_group_alone_shows_its_help(edgekd):
    assert edgekd("bundle") == edgekd("bundle", "--help")


@pytest.mark.parametrize("words", [(), ("bench",), ("bundle", "verify")], ids=str)
def test_h_is_help(edgekd, words):
    outcome = edgekd(*words, "-h")
    assert (outcome.code, outcome.out) == (0, edgekd(*words, "--help").out)
    assert "-h, --help" in outcome.out


def test_its_version(edgekd):
    assert edgekd("--version").out == f"edgekd {__version__}\n"


def test_a_shell_completes_commands(edgekd, monkeypatch):
    for name, value in (("_EDGEKD_COMPLETE", "complete_bash"), ("COMP_WORDS", "edgekd pro"), ("COMP_CWORD", "1")):
        monkeypatch.setenv(name, value)
    assert edgekd().out.split() == ["profile"]


def test_ctrl_c_in_a_short_command_is_one_line(edgekd, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("edgekd.report.load.load_report", interrupted)
    outcome = edgekd("report", "run")
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "\ninterrupted\n")
