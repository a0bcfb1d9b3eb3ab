import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekd.errors import RecipeError
from edgekd.recipe import Distill, Prune, Target, load_recipe

from .conftest import SMALL

Write = Callable[..., Path]
Complaint = Callable[..., str]
ROOT = Path(__file__).parents[2]
FITTED = sorted((ROOT / "recipes").glob("fit_*.yaml"))
SHIPPED = sorted({*(ROOT / "recipes").glob("*.yaml")} - {*FITTED})


def test_defaults(write: Write) -> None:
    recipe = load_recipe(write())
    distill, prune = recipe.stages
    assert isinstance(distill, Distill)
    assert isinstance(prune, Prune)
    assert (distill.epochs, distill.lr, distill.temperature, distill.hard_weight) == (10, 0.1, 4.0, 0.1)
    assert (prune.macs, prune.params, prune.epochs, prune.lr) == (0.5, None, 5, 0.02)
    assert (recipe.seed, recipe.data.batch_size, recipe.targets) == (0, 128, (Target(),))
    assert recipe.student is not None
    assert recipe.student.checkpoint is None


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_recipes_load(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    # Without a student the teacher's own network is cut, which has learned already.
    learns = {"distill"} if recipe.student else set()
    assert {stage.name for stage in recipe.stages} == {*learns, "prune", "quantize"}


@pytest.mark.parametrize(
    ("written", "value"),
    [("1e-3", 0.001), ("5E-4", 0.0005), ("1", 1.0), (".5", 0.5), ("+2.5", 2.5), ("010", 10.0)],
)
def test_numbers_are_those_of_yaml_1_2(write: Write, written: str, value: float) -> None:
    assert load_recipe(write(), [f"distill.lr={written}"]).stages[0].lr == value


def test_words_that_yaml_1_1_takes_for_others_stay_words(write: Write) -> None:
    recipe = load_recipe(write(SMALL.replace("small_cnn", "no, args: {a: 2024-01-01, b: on, c: 1:30}")))
    assert recipe.student is not None
    assert recipe.student.model == "no"
    assert recipe.student.args == {"a": "2024-01-01", "b": "on", "c": "1:30"}


def test_paths_are_relative_to_the_file(write: Write, tmp_path: Path) -> None:
    text = SMALL.replace("digits", "own.py:read, path: ../images").replace(
        "small_cnn", "nets/own.py:build, checkpoint: ~/s.pt"
    )
    recipe = load_recipe(write(text.replace("train: {epochs: 1}", "checkpoint: /t.pt"), "deep/r.yaml"))
    assert recipe.data.source == f"{tmp_path}/deep/own.py:read"
    assert recipe.data.path == tmp_path / "images"
    assert recipe.teacher.checkpoint == Path("/t.pt")
    assert recipe.student is not None
    assert recipe.student.model == f"{tmp_path}/deep/nets/own.py:build"
    assert recipe.student.checkpoint == Path.home() / "s.pt"


def test_hash_does_not_depend_on_the_folder(write: Write) -> None:
    text = SMALL.replace("digits", "folder, path: ../images")
    here, there = load_recipe(write(text, "a/r.yaml")), load_recipe(write(text, "b/c/r.yaml"))
    assert here.data.path != there.data.path
    assert here.sha256 == there.sha256
    assert here.model_copy(update={"seed": 1}).sha256 != here.sha256


def test_paths_of_further_teachers_are_relative_to_the_file_too(write: Write, tmp_path: Path) -> None:
    others = "[{model: mlp, train: {}}, {model: 'own.py:build', checkpoint: ../t.pt}]"
    text = SMALL.replace("train: {epochs: 1}", f"train: {{epochs: 1}}, others: {others}")
    here, there = load_recipe(write(text, "a/r.yaml")), load_recipe(write(text, "b/c/r.yaml"))
    assert here.teacher.others[1].checkpoint == tmp_path / "t.pt"
    assert here.teacher.others[1].model == f"{tmp_path}/a/own.py:build"
    assert there.teacher.others[1].checkpoint == tmp_path / "b/t.pt"
    assert here.sha256 == there.sha256


def test_hash_is_of_values_not_of_spelling(write: Write) -> None:
    spelled = SMALL.replace("- distill", "- distill: {temperature: 4, hard_weight: 1e-1}") + "# seen\nseed: 0\n"
    assert load_recipe(write()).sha256 == load_recipe(write(spelled)).sha256
    assert load_recipe(write()).sha256 != load_recipe(write(), ["seed=1"]).sha256


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "r.yaml: the file is empty; 'edgekd init' writes a recipe to start from"),
        ("# nothing\n", "r.yaml: the file is empty; 'edgekd init' writes a recipe to start from"),
        (
            "- distill\n",
            "r.yaml:1: expected a mapping with the keys name, seed, task, decoder, data, teacher, student, stages, "
            "targets, budget, objective",
        ),
        (b"name: \xff\n", "r.yaml: not UTF-8 text; save it as UTF-8"),
        ("name: a\ndata: [1\n", "r.yaml:3: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("name: a\nname: b\n", "r.yaml:2: name: given twice, first on line 1"),
        (
            SMALL.replace("source: digits", "source: digits, workers: 1, source: mnist"),
            "r.yaml:2: data.source: given twice, first on line 2",
        ),
        (
            "name: a\nteacher: !!python/object:os.system {}\n",
            "r.yaml:2: teacher: the tag !!python/object:os.system has no place in a recipe",
        ),
        ("name: !!binary aGk=\n", "r.yaml:1: name: the tag !!binary has no place in a recipe"),
        ("name: a\nseed: .nan\n", "r.yaml:2: seed: expected a finite number, got '.nan'"),
        ("seed: 1e999\n", "r.yaml:1: seed: expected a finite number, got '1e999'"),
        (
            "seed: " + "9" * 5000,
            "r.yaml:1: seed: expected a whole number of at most 18 digits, got '" + "9" * 40 + "'",
        ),
        ("1: a\n", "r.yaml:1: expected a word as key, got '1'"),
        ("[a]: b\n", "r.yaml:1: expected a word as key, got a list or mapping"),
        (
            "a: &x [1]\nb: *x\n",
            "r.yaml:2: not valid YAML: aliases (*name) are not used in recipes; write the value out, or use extends",
        ),
        (
            "a: 1\n---\nb: 1\n",
            "r.yaml:2: not valid YAML: but found another document",
        ),
        ("name: a\x01b\n", "r.yaml:1: not valid YAML: special characters are not allowed"),
        ('name: "\\UFFFFFFFF"\n', "r.yaml:1: not valid YAML: an escape is no character"),
        (
            'name: "a\\0b"\n',
            "r.yaml:1: name: the text 'a\\x00b' holds characters that files and terminals refuse",
        ),
        ("a: " + "[" * 21 + "]" * 21, "r.yaml:1: a.0.0: nested too deeply for a recipe"),
        ("a: " + "[" * 3000, "r.yaml:1: nested too deeply for a recipe"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_files_that_are_no_recipe(complaint: Complaint, text: str | bytes, message: str) -> None:
    assert complaint(text) == message


def test_no_such_file(write: Write) -> None:
    write(name="quick.yaml")
    with pytest.raises(RecipeError, match=r"^qiuck.yaml: no such file \(did you mean 'quick'\?\)$"):
        load_recipe(Path("qiuck.yaml"))
    with pytest.raises(RecipeError, match=r"^nowhere/r.yaml: no such file$"):
        load_recipe(Path("nowhere/r.yaml"))


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"a folder; name a recipe file in it$"):
        load_recipe(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(write: Write) -> None:
    path = write()
    path.chmod(0)
    with pytest.raises(RecipeError, match=r"^r.yaml: cannot be read: Permission denied$"):
        load_recipe(path)


def test_home_of_nobody(complaint: Complaint) -> None:
    assert complaint(SMALL.replace("digits", "folder, path: ~nobody-here/x")) == (
        "r.yaml:2: data.path: nobody on this machine has the home that '~nobody-here/x' names"
    )


def test_recipes_load_without_torch() -> None:
    code = "import sys, edgekd.recipe, edgekd.cli.recipe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("quickstart", {0.1}),
        ("scenes", {0.1}),
        ("scenes_masks", {0.1}),
        ("diabetes", {0.5}),
        ("keypoints_maps", {0.5}),
        ("scenes_boxes", {0.1, 0.5}),  # after the cut it trains on labels alone
    ],
)
def test_a_weight_of_the_labels_that_is_left_out_is_the_tasks(name: str, weights: set[float]) -> None:
    recipe = load_recipe(ROOT / f"recipes/{name}.yaml")
    found = recipe.trained_for(100)
    assert {stage.hard_weight for stage in found.stages} == weights
    assert {stage.hard_weight for stage in found.stages if stage.learns_from_teacher} == {recipe.kind.hard_weight}
    given = load_recipe(ROOT / f"recipes/{name}.yaml", ["quantize.hard_weight=0.3"]).trained_for(100)
    assert given.stages[-1].hard_weight == 0.3
    assert load_recipe(ROOT / f"recipes/{name}.yaml", [f"seed={recipe.seed}"]).trained_for(100) == found
