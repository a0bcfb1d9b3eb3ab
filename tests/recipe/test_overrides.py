from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekd.recipe import load_recipe

from .conftest import SMALL

Write = Callable[..., Path]
Complaint = Callable[..., str]


@pytest.mark.parametrize(
    ("setting", "loc", "value"),
    [
        ("prune.macs=0.4", ("stages", 1, "prune", "macs"), 0.4),
        ("stages.1.macs=0.4", ("stages", 1, "prune", "macs"), 0.4),
        ("stages.1.prune.macs=0.4", ("stages", 1, "prune", "macs"), 0.4),
        ("distill.epochs=2", ("stages", 0, "distill", "epochs"), 2),
        ("distill={epochs: 3}", ("stages", 0, "distill", "epochs"), 3),
        ("stages.1=quantize", ("stages", 1, "quantize", "epochs"), 2),
        ("stages=[distill]", ("stages", 0, "distill", "epochs"), 10),
        ("data.batch_size=64", ("data", "batch_size"), 64),
        ("seed=1", ("seed",), 1),
        ("teacher.train.epochs=7", ("teacher", "train", "epochs"), 7),
        ("budget.accuracy_drop=2", ("budget", "accuracy_drop"), 2.0),
        ("student.args.width=8", ("student", "args", "width"), 8),
        ("data.augment=[crop, flip]", ("data", "augment"), ["crop", "flip"]),
        ("name=a=b", None, "'a=b' cannot name a folder"),
    ],
)
def test_override(write: Write, complaint: Complaint, setting: str, loc: Any, value: Any) -> None:
    if loc is None:
        assert value in complaint(SMALL, setting)
        return
    dump: Any = load_recipe(write(), [setting]).to_json()
    for part in loc:
        dump = dump[part]
    assert dump == value


def test_a_name_means_all_stages_of_that_name(write: Write) -> None:
    text = SMALL + "  - distill: {epochs: 1}\n"
    recipe = load_recipe(write(text), ["distill.epochs=4", "stages.0.epochs=5"])
    assert [stage.epochs for stage in recipe.stages] == [5, 5, 4]


def test_later_overrides_win(write: Write) -> None:
    assert load_recipe(write(), ["seed=1", "seed=2"]).seed == 2


def test_null_leaves_out(write: Write) -> None:
    assert load_recipe(write(), ["student="]).student is None


def test_items_of_lists(write: Write) -> None:
    text = SMALL + "targets: [{threads: 1}, {threads: 2}]\n"
    recipe = load_recipe(write(text), ["targets.1.threads=4"])
    assert [target.threads for target in recipe.targets] == [1, 4]


def test_paths_are_relative_to_the_current_directory(write: Write, tmp_path: Path) -> None:
    recipe = load_recipe(write(name="deep/r.yaml"), ["teacher.checkpoint=t.pt", "data.path=../d"])
    assert recipe.teacher.checkpoint == tmp_path / "t.pt"
    assert recipe.data.path == tmp_path.parent / "d"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("prune", "--set prune: expected KEY=VALUE, e.g. --set distill.epochs=2"),
        ("=3", "--set =3: expected KEY=VALUE, e.g. --set distill.epochs=2"),
        ("a..b=3", "--set a..b=3: expected KEY=VALUE, e.g. --set distill.epochs=2"),
        (
            "prnue.macs=1",
            "--set prnue.macs=1: unknown key 'prnue' (did you mean 'prune'?)",
        ),
        (
            "prune.mcas=0.4",
            "--set prune.mcas=0.4: stages.1.prune.mcas: unknown key (did you mean 'macs'?)",
        ),
        (
            "quantize.epochs=1",
            "--set quantize.epochs=1: the recipe has no stage quantize; its stages: distill, prune",
        ),
        (
            "prune.macs=2",
            "--set prune.macs=2: stages.1.prune.macs: expected a number above 0 and below 1, got 2",
        ),
        ("stages.2.epochs=1", "--set stages.2.epochs=1: stages has no item '2'; its items: 0 to 1"),
        ("stages.first=1", "--set stages.first=1: stages has no item 'first'; its items: 0 to 1"),
        (
            "data.source.x=1",
            "--set data.source.x=1: data.source is not a section, so it has no 'x'",
        ),
        (
            "seed=[1",
            "--set seed=[1: not valid YAML: expected ',' or ']', but got '<stream end>'",
        ),
        ("seed=.inf", "--set seed=.inf: expected a finite number, got '.inf'"),
        (
            "student.modle=x",
            "--set student.modle=x: student.modle: unknown key (did you mean 'model'?); known: model, args, "
            "checkpoint, checkpoint_key, new_head",
        ),
    ],
)
def test_message(complaint: Complaint, setting: str, message: str) -> None:
    assert complaint(SMALL, setting) == message


def test_missing_key_of_a_section_that_an_override_made(complaint: Complaint) -> None:
    text = SMALL.replace("student: {model: small_cnn}\n", "")
    assert complaint(text, "student.args={}") == (
        "--set student.args={}: student: missing key 'model'; expected a built-in network, torchvision/NAME, "
        "timm/NAME, or 'path.py:function'"
    )
