"""The commands that need no training: what they print."""

import json


def test_init_writes_a_recipe_that_checks(edgekd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert edgekd("init").code == 0
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
