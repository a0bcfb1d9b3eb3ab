"""The README's Python runs as it stands, and its commands exist."""

import contextlib
import io
import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What the page's Python prints, block after block."""
    names: dict = {}
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.chdir(tmp_path_factory.mktemp("page"))
        for block in blocks("python"):
            exec(block, names)
    return out.getvalue()


def test_python_examples_run_in_order(printed):
    p50, ratio = printed.split(" ", 1)
    assert float(p50) > 0
    assert "ci95" in ratio


def test_the_recipe_is_one(tmp_path):
    from edgekd.recipe import load_recipe

    [text] = blocks("yaml")
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    assert [stage.name for stage in load_recipe(path).stages] == ["distill", "prune", "quantize"]


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^edgekd ([a-z]+(?: [a-z]+)?)", README, re.MULTILINE))))
def test_commands_exist(command, capsys, monkeypatch):
    from edgekd.cli.main import main

    words = command.split()
    monkeypatch.setattr("sys.argv", ["edgekd", *words[: 2 if words[0] in ("bundle", "recipe") else 1], "--help"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0


def test_links_to_files_of_the_repository_lead_somewhere():
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)\)", README):
        assert (Path(__file__).parents[1] / target).exists(), target


def test_the_page_on_recipes_names_every_key_and_every_choice():
    from edgekd.data.augment import AUGMENTATIONS
    from edgekd.data.sources import SOURCES
    from edgekd.prune import IMPORTANCES
    from edgekd.prune.reduction import REDUCTIONS
    from edgekd.prune.schedule import SCHEDULES as CUT_SCHEDULES
    from edgekd.prune.scope import SCOPES
    from edgekd.quantize.registry import CALIBRATIONS
    from edgekd.recipe import STAGES, Budget, Data, FurtherTeacher, Recipe, Student, Target, Teacher, Train
    from edgekd.train.optimizers import OPTIMIZERS
    from edgekd.train.schedule import SCHEDULES

    page = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text()
    registries = (
        *(SOURCES, AUGMENTATIONS, OPTIMIZERS, SCHEDULES, IMPORTANCES, REDUCTIONS, SCOPES, CUT_SCHEDULES),
        *(CALIBRATIONS, STAGES),
    )
    sections = (Recipe, Data, Teacher, FurtherTeacher, Student, Train, Target, Budget, *STAGES.values())
    keys = {key for section in sections for key in section.model_fields} | {
        name for registry in registries for name in registry
    }
    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []


@pytest.mark.parametrize("name", ["quickstart", "cifar10"])
def test_the_tables_are_those_of_the_recorded_runs(name):
    from edgekd.report.load import load_report
    from edgekd.report.markdown import render_markdown

    results = Path(__file__).parents[1] / "benchmarks" / "results" / name
    recorded = render_markdown(load_report(results))
    table = next(block for block in recorded.split("\n\n") if block.startswith("| Model"))
    assert table.strip() in README
