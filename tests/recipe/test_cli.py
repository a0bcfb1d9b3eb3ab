import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgekd.cli.recipe import app
from edgekd.errors import RecipeError
from edgekd.pipeline.check import check_recipe
from edgekd.pipeline.target_plan import describe_targets
from edgekd.recipe import json_schema, load_recipe

from .conftest import SMALL
from .test_load import SHIPPED

Write = Callable[..., Path]
runner = CliRunner()


def run(*arguments: str) -> str:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_check(write: Write) -> None:
    write()
    write(SMALL.replace("name: small", "name: one").replace("  - prune: {macs: 0.5}\n", ""), "one.yaml")
    target = "\n".join(describe_targets(load_recipe(Path("r.yaml")), check_recipe(Path("r.yaml")).targets))
    assert run("check", "r.yaml", "one.yaml") == (
        f"ok  small  (2 stages: distill -> prune)\n{target}\nok  one  (1 stage: distill)\n{target}\n"
    )
    assert target.startswith("target   cpu: model.cpu.onnx, for ONNX Runtime on this machine's")


def test_check_shipped() -> None:
    result = runner.invoke(app, ["check", *map(str, SHIPPED)])
    # Two are for files that a clone does not have, and one has no student to distil into.
    assert result.stdout.count("(3 stages: distill -> prune -> quantize)\n") == len(SHIPPED) - 3
    assert all("there is no" in line for line in str(result.exception).splitlines())


def test_check_goes_on_after_a_mistake(write: Write) -> None:
    write(SMALL + "sed: 1\n", "bad.yaml")
    result = runner.invoke(app, ["check", "bad.yaml", "none.yaml", str(write())])
    assert result.stdout.startswith("ok  small  (2 stages: distill -> prune)\ntarget   cpu: ")
    assert isinstance(result.exception, RecipeError)
    assert str(result.exception).splitlines() == [
        "bad.yaml:8: sed: unknown key (did you mean 'seed'?)",
        "none.yaml: no such file",
    ]


def test_check_as_json(write: Write) -> None:
    path = write()
    result = runner.invoke(app, ["check", "--json", "r.yaml", "none.yaml"])
    assert json.loads(result.stdout) == [
        {
            "path": "r.yaml",
            "ok": True,
            "name": "small",
            "stages": ["distill", "prune"],
            "sha256": load_recipe(path).sha256,
            "targets": [check_recipe(path).targets[0].to_json()],
        },
        {"path": "none.yaml", "ok": False, "mistakes": ["none.yaml: no such file"]},
    ]
    assert isinstance(result.exception, RecipeError)


def test_check_as_json_is_a_document_whatever_is_wrong(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write()
    Path("devices.json").write_text("{")
    monkeypatch.setenv("EDGEKD_DEVICES", "devices.json")
    result = runner.invoke(app, ["check", "--json", "r.yaml"])
    [document] = json.loads(result.stdout)
    assert (document["path"], document["ok"]) == ("r.yaml", False)
    assert document["mistakes"][0].startswith("devices.json is no list of devices")
    assert isinstance(result.exception, RecipeError)


def test_show(write: Write) -> None:
    write()
    write(run("show", "r.yaml", "--set", "prune.macs=0.4", "--set", "seed=3"), "shown.yaml")
    shown = load_recipe(Path("shown.yaml"))
    assert shown == load_recipe(Path("r.yaml"), ["prune.macs=0.4", "seed=3"])
    assert json.loads(run("show", "--json", "shown.yaml")) == shown.to_json()


def test_schema() -> None:
    assert json.loads(run("schema")) == json_schema()


@pytest.mark.parametrize("command", ["check", "show"])
def test_overrides_that_cannot_be(write: Write, command: str) -> None:
    write()
    result = runner.invoke(app, [command, "r.yaml", "--set", "prnue.macs=1"])
    assert "did you mean 'prune'?" in str(result.exception)
