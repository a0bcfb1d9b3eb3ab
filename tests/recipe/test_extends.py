from collections.abc import Callable
from pathlib import Path

import pytest

from edgekd.errors import RecipeError
from edgekd.recipe import load_recipe
from edgekd.recipe.load import read_tree
from edgekd.recipe.open_fields import open_fields

from .conftest import SMALL

Write = Callable[..., Path]
Complaint = Callable[..., str]


def test_mappings_merge_and_lists_are_replaced(write: Write) -> None:
    write(SMALL.replace("{model: resnet8", "{model: resnet8, args: {width: 8, depth: 2}"), "base.yaml")
    recipe = load_recipe(write("extends: base.yaml\nname: other\nteacher: {args: {width: 16}}\nstages: [distill]\n"))
    assert recipe.name == "other"
    assert recipe.teacher.model == "resnet8"
    assert recipe.teacher.args == {"width": 16, "depth": 2}
    assert [stage.name for stage in recipe.stages] == ["distill"]


def test_null_leaves_out_what_the_base_has(write: Write) -> None:
    write(name="base.yaml")
    assert load_recipe(write("extends: base.yaml\nstudent:\n")).student is None


def test_each_path_is_relative_to_the_file_that_wrote_it(write: Write, tmp_path: Path) -> None:
    write(SMALL.replace("digits", "folder, path: images"), "base/a.yaml")
    write("extends: ../base/a.yaml\n", "middle/b.yaml")
    recipe = load_recipe(write("extends: middle/b.yaml\nstudent: {checkpoint: s.pt}\n"))
    assert recipe.data.path == tmp_path / "base/images"
    assert recipe.student is not None
    assert recipe.student.checkpoint == tmp_path / "s.pt"


def test_mistakes_name_the_file_that_wrote_them(write: Write, complaint: Complaint) -> None:
    write(SMALL.replace("digits", "digits, workers: -1"), "base.yaml")
    assert complaint("extends: base.yaml\nseed: x\nstages:\n  - prune\n").splitlines() == [
        "base.yaml:2: data.workers: expected a whole number of at least 0, got -1",
        "r.yaml:2: seed: expected a whole number of at least 0 and of at most 4294967295, got 'x'",
        "r.yaml:4: stages.0.prune: nothing says how far to prune; give macs, params, size, "
        "latency, accuracy_drop, drop or depth, e.g. macs: 0.5, the share to keep",
    ]


def test_circle(write: Write, complaint: Complaint) -> None:
    write("extends: sub/b.yaml\n", "a.yaml")
    write("# up\nextends: ../r.yaml\n", "sub/b.yaml")
    assert complaint("extends: a.yaml\n") == (
        "sub/b.yaml:2: extends: the recipes extend each other in a circle: r.yaml -> a.yaml -> b.yaml -> r.yaml"
    )


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("nothing.yaml", "r.yaml:1: extends: nothing.yaml: no such file"),
        (".", "r.yaml:1: extends: .: a folder; name a recipe file in it"),
        ("[a]", 'r.yaml:1: extends: expected the path of a recipe, got ["a"]'),
        ("x" * 300, f"r.yaml:1: extends: {'x' * 300}: cannot be read: File name too long"),
    ],
)
def test_what_cannot_be_extended(complaint: Complaint, extends: str, message: str) -> None:
    assert complaint(f"extends: {extends}\n") == message


def test_an_empty_base(write: Write) -> None:
    write("", "base.yaml")
    with pytest.raises(RecipeError, match=r"^r.yaml:1: extends: base.yaml: the file is empty"):
        load_recipe(write("extends: base.yaml\n"))


@pytest.mark.parametrize(
    ("base", "over"),
    [
        ("{choice: [resnet8, small_cnn]}", "{model: small_cnn, args: {width: 8}}"),
        ("{model: resnet8, args: {width: 8}}", "{choice: [teacher, small_cnn]}"),
        ("{model: small_cnn, args: {width: {search: [8, 16]}}}", "{args: {width: {choice: [8, 16]}}}"),
    ],
)
def test_an_open_field_and_a_section_are_no_parts_of_each_other(write: Write, base: str, over: str) -> None:
    write(SMALL.replace("{model: small_cnn}", base), "base.yaml")
    tree = read_tree(write(f"extends: base.yaml\nstudent: {over}\n"))
    open_fields(tree)
    student = tree.value["student"]
    assert student.get("choice") == (["teacher", "small_cnn"] if "teacher" in over else None)
    assert student.get("model") == (None if "teacher" in over else "small_cnn")
    assert student.get("args", {}).get("width") in (None, 8, {"choice": [8, 16]})


def test_open_fields_of_one_form_merge(write: Write) -> None:
    write(SMALL.replace("{model: small_cnn}", "{model: small_cnn, args: {width: {search: [1, 8]}}}"), "base.yaml")
    for over, width in (("{log: true}", [1, 8]), ("{search: [2, 4], log: true}", [2, 4])):
        tree = read_tree(write(f"extends: base.yaml\nstudent: {{args: {{width: {over}}}}}\n"))
        assert tree.value["student"]["args"]["width"] == {"search": width, "log": True}
