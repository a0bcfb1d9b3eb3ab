"""The README is short, its figures are recorded ones, and what it and its pages show runs."""

import contextlib
import io
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = ("README.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md"))))


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What the Python of docs/python.md prints, block after block."""
    names: dict = {}
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.chdir(tmp_path_factory.mktemp("page"))
        for block in blocks("python", (ROOT / "docs/python.md").read_text()):
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


def test_it_has_at_most_900_words():
    assert len(README.split()) <= 900


def anchors(page: Path) -> set[str]:
    """The fragments of ``page``'s headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_to_the_repository_lead_to_a_file_and_its_heading(name):
    page = ROOT / name
    for target, fragment in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
        found = page.parent / target if target else page
        assert found.exists(), target
        assert not fragment or fragment in anchors(found), f"{target}#{fragment}"


def test_every_page_is_linked_from_it():
    assert [name for name in PAGES[1:] if f"({name})" not in README] == []


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


def tables_of(text: str) -> list[list[dict[str, str]]]:
    """Return the rows of each table of models in ``text``, by their headings."""
    found = []
    for block in text.split("\n\n"):
        if block.startswith("| Model"):
            lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in block.strip().splitlines())
            heads, _, *rows = lines
            found.append([dict(zip(heads, row, strict=True)) for row in rows])
    return found


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("quickstart", "quickstart"),
        ("cifar10", "cifar10"),
        ("fit_cifar10_resnet56", "cifar10"),
        ("scenes_boxes", "detection"),
    ],
)
def test_the_tables_are_those_of_the_recorded_runs(name, page):
    from edgekd.report.load import load_report
    from edgekd.report.markdown import render_markdown

    [recorded] = tables_of(render_markdown(load_report(ROOT / "benchmarks" / "results" / name)))
    tables = tables_of((ROOT / f"docs/{page}.md").read_text())
    # A page may leave out columns, and the rows of PyTorch, which come first. It may have tables of several runs.
    assert all(shown[0]["Model"] == "teacher" for shown in tables)
    same = [
        all(row.items() <= whole.items() for row, whole in zip(shown, recorded[-len(shown) :], strict=True))
        for shown in tables
    ]
    assert sum(same) == 1


def test_the_figures_under_the_picture_are_those_of_the_recorded_run():
    from edgekd.report.load import load_report
    from edgekd.report.markdown import render_markdown

    results = ROOT / "benchmarks/results/quickstart"
    [drop, _, size] = json.loads((results / "report.json").read_text())["budget"]["checks"]
    rows = [line for line in render_markdown(load_report(results)).splitlines() if "| onnxruntime |" in line]
    times = {row.split(" | ")[0].strip("| "): row.split(" | ")[-1].split("×")[0] for row in rows}
    assert f"{times['quantized']}× faster and {1 / size['value']:.0f}× smaller" in README
    assert f"{-drop['value']:.1f} points more accurate on {drop['n']} test images" in README
    # The picture's last network is the fastest.
    assert float(times["quantized"]) == max(float(ratio) for name, ratio in times.items() if name != "teacher")


def test_the_figures_of_cifar10_are_those_of_the_recorded_run():
    from edgekd.report.load import load_report

    checks = load_report(ROOT / "benchmarks/results/cifar10").budget.checks
    drop, latency, size = (check.value for check in checks)
    said = f"written by hand, gives {1 / latency:.2f}× and {1 / size:.1f}×, for {drop:.1f} points"
    assert said in " ".join(README.split())
    assert all(check.met for check in checks)


def test_the_figures_of_the_search_on_cifar10_are_those_of_the_recorded_one():
    from edgekd.report.load import load_report
    from edgekd.report.markdown import render_markdown

    results = ROOT / "benchmarks/results/fit_cifar10_resnet56"
    report, found = load_report(results), json.loads((results / "fit.json").read_text())
    [drop] = report.budget.checks
    assert found["met"] and drop.met and drop.bound == 1.0 and 3300 < found["seconds"] < 3900
    told = re.search(r"([\d.]+)× faster · ([\d.]+)× smaller", render_markdown(report))
    said = f"in an hour a network {told[1]}× faster and {told[2]}× smaller than its teacher"
    assert f"{said}, for {drop.value:.1f} points of accuracy" in " ".join(README.split())
    page = " ".join((ROOT / "docs/cifar10.md").read_text().split())
    assert f"took {found['seconds'] / 60:.0f} minutes for {found['candidates']} candidates" in page
    stages = json.loads((results / "report.json").read_text())["stages"]
    [cut] = next(stage["metrics"]["cuts"] for stage in stages if stage["name"] == "prune")
    assert f"has {27 - len(cut['dropped'])} of the 27 blocks" in page
    assert f"On {drop.n:,} test images it loses {drop.value:.1f} points" in page


def test_the_figures_of_a_search_are_those_of_the_recorded_one():
    from edgekd.report.load import load_report

    results = ROOT / "benchmarks/results/fit_digits"
    checks = load_report(results).budget.checks
    drop, latency, size = (check.value for check in checks)
    found = json.loads((results / "fit.json").read_text())
    said = " ".join((ROOT / "docs/fit.md").read_text().split())
    low, high = checks[0].ci95
    assert f"on {checks[0].n} test images ({high:.1f} less to {-low:.1f} more;" in said
    assert f"took {found['seconds'] / 60:.1f} minutes for {found['candidates']} candidates" in said
    figures = f"{1 / latency:.1f}× faster and {1 / size:.1f}× smaller than its teacher, and {-drop:.1f} points more"
    assert figures in said
    found_in = f"{1 / latency:.1f}× faster and {1 / size:.1f}× smaller, in {found['seconds'] / 60:.0f} minutes"
    assert found_in in " ".join(README.split())
    stages = load_report(results).stages
    assert "a ResNet-8 without its first block" in said and found["winner"]["arm"].startswith("resnet8")
    depth, _ = next(stage.metrics["cuts"] for stage in stages if stage.name == "prune")
    assert depth["dropped"] == ["layer1"]


def test_a_search_lies_before_the_quickstart_by_hand():
    found = json.loads((ROOT / "benchmarks/results/fit_front.json").read_text())
    times = [each["times"] for each in found["by_hand"]]
    said = " ".join((ROOT / "docs/fit.md").read_text().split())
    assert len(times) == 3 and min(each["gain"] for each in found["by_hand"]) >= 0
    assert len({each["by"] for each in found["by_hand"]}) == 1
    assert f"it is {min(times):.2f} to {max(times):.2f} times as fast as they are" in said


def test_the_search_for_a_resnet18_is_the_recorded_one():
    from edgekd.report.load import load_report

    results = ROOT / "benchmarks/results/fit_resnet18"
    checks = load_report(results).budget.checks
    found = json.loads((results / "fit.json").read_text())
    assert found["met"] and [(each.bound, each.met) for each in checks] == [(0.5, True), (0.0667, True), (0.025, True)]
    drop, latency, size = (check.value for check in checks)
    said = " ".join((ROOT / "docs/fit.md").read_text().split())
    assert f"{1 / latency:.1f}× faster, {1 / size:.0f}× smaller and {-drop:.2f} points more accurate" in said
    low, high = checks[0].ci95
    assert f"on {checks[0].n:,} test images ({high:.2f} less to {-low:.2f} more)" in said
    assert f"The search took {found['seconds'] / 60:.0f} minutes" in said


def test_the_budget_of_detection_is_met():
    from edgekd.report.load import load_report

    assert all(check.met for check in load_report(ROOT / "benchmarks/results/scenes_boxes").budget.checks)
