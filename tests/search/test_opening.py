import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgekd.agent import system
from edgekd.errors import RecipeError
from edgekd.options import Target
from edgekd.pipeline import check
from edgekd.recipe.load import load_recipe
from edgekd.recipe.open_fields import OpenRange
from edgekd.recipe.tree import Loc
from edgekd.search.goal import goal_of
from edgekd.search.opening import _why_no_energy, open_space
from edgekd.search.points import arm_space
from edgekd.search.space import ARM, Dimension
from edgekd.stages import Distill
from tests.recipe.test_load import FITTED, ROOT

HEAD = """\
name: small
data: {source: digits}
teacher: {model: resnet20, args: {width: 32}, train: {epochs: 8}}
budget: {accuracy_drop: 1.0}
"""
OPEN = f"""{HEAD}
student: {{choice: [teacher, resnet8, {{model: small_cnn, args: {{width: {{choice: [8, 16]}}}}}}]}}
stages:
  - distill: {{method: {{choice: [kd, fitnet]}}, epochs: {{search: [2, 8]}}}}
  - prune: {{macs: {{search: [0.4, 0.9]}}}}
"""
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        Path("r.yaml").write_text(text)
        return Path("r.yaml")

    return write


def test_a_point_is_a_recipe_that_runs(write: Write) -> None:
    space = open_space(write(OPEN), apart=False)
    assert [arm.name for arm in space.arms] == ["teacher", "resnet8", "small_cnn"]
    names = ["stages.distill.method", "stages.distill.epochs", "stages.prune.macs"]
    assert [each.name for each in space.arms[1].dimensions] == names
    assert [each.name for each in space.arms[2].dimensions] == ["student.args.width", *names]
    cut = space.arms[1].cut
    assert cut is not None and cut.values == OpenRange(0.4, 0.9) and cut.place == "r.yaml:9"

    point = {ARM: "small_cnn", "student.args.width": 16, "stages.prune.macs": 0.5, "stages.distill.epochs": 3.4}
    assert space.complete(point) == {**point, "stages.distill.method": "kd"}
    recipe = space.recipe(point)
    assert recipe.student is not None and recipe.student.args == {"width": 16}
    assert [recipe.stages[0].epochs, recipe.stages[1].macs] == [3, 0.5]  # type: ignore[attr-defined]
    again = Path("again.yaml")
    again.write_text(space.document(point))
    assert load_recipe(again) == recipe
    assert space.recipe({ARM: "teacher"}).student is None
    for wrong, message in (
        ({}, "unknown arm None; known: teacher, resnet8, small_cnn"),
        ({ARM: "resnet8", "stages.prune.mac": 1}, "dimension 'stages.prune.mac' (did you mean 'stages.prune.macs'?)"),
        ({ARM: "resnet8", "stages.prune.macs": 2.0}, "prune.macs: expected a number above 0 and below 1, got 2.0"),
    ):  # fmt: skip
        with pytest.raises(RecipeError) as error:
            space.recipe(wrong)
        assert message in str(error.value)


def test_what_is_left_out_is_the_teacher_cut_and_its_smaller_relatives(write: Write) -> None:
    space = open_space(write(HEAD + "objective: size\n"))
    cut = ["teacher by widths", "teacher by blocks", "teacher by blocks and widths"]
    ways = ("", " by widths", " by blocks and widths")
    widths = [f"resnet8 width {width}{way}" for width in (32, 16, 8) for way in ways]
    assert [arm.name for arm in space.arms] == ["teacher", *cut, *widths]
    assert all(arm.assumed for arm in space.arms)
    assert space.objective == "size"
    recipes = [space.recipe({ARM: arm.name}) for arm in space.arms]
    assert {recipe.objective for recipe in recipes} == {None}
    assert {stage.fuse_teacher for recipe in recipes for stage in recipe.stages if stage.name != "quantize"} == {True}
    assert [stage.name for stage in recipes[2].stages] == ["prune", "quantize"]
    assert recipes[5].student is not None and recipes[5].student.args == {"width": 32}
    assert [stage.name for stage in recipes[5].stages] == ["distill", "prune", "quantize"]


def test_blocks_are_dropped_from_a_student_that_has_no_shallower_relative(write: Write) -> None:
    arms = open_space(write(HEAD.replace("resnet20", "resnet32").replace("{width: 32}", "{width: 8}"))).arms
    by_blocks = {arm.name.removesuffix(" by blocks and widths") for arm in arms if "blocks" in arm.name}
    assert by_blocks == {"teacher", "teacher by blocks", "resnet8"}
    assert {arm.name for arm in arms} >= {"resnet20", "resnet20 by widths"}


@pytest.mark.parametrize(
    ("data", "views"),
    [
        ("source: digits", 1),
        ("source: digits, augment: [flip]", None),
        ("source: 'data.py:make'", None),
        ("source: npz, path: data.npz", 1),
        # Heat maps may be larger than the images.
        ("source: npz, path: data.npz}\ntask: keypoints\nbudget: {drop: {nme: 1}", None),
    ],
)
def test_outputs_of_a_teacher_that_sees_each_sample_alike_are_computed_once_for_all_trials(
    write: Write, data: str, views: int | None
) -> None:
    Path("data.py").write_text("def make(): ...\n")
    np.savez("data.npz", **{f"{part}_{each}": np.zeros(1) for part in ("train", "test") for each in "xy"})
    head = HEAD.replace("budget: {accuracy_drop: 1.0}\n", "") if "budget" in data else HEAD
    space = open_space(write(head.replace("source: digits", data)))
    stages = [stage for arm in space.arms for stage in space.recipe({ARM: arm.name}).stages]
    assert {stage.views for stage in stages if isinstance(stage, Distill)} == {views}


def test_what_is_left_out_is_trained_by_the_teachers_own_optimizer(write: Write) -> None:
    def trained(teacher: str) -> set[tuple[object, ...]]:
        space = open_space(write(HEAD.replace("train: {epochs: 8}", teacher)))
        stages = [stage for arm in space.arms for stage in space.recipe({ARM: arm.name}).stages]
        return {(each.name, each.optimizer, each.lr, each.weight_decay) for each in stages if each.name != "quantize"}

    taught = trained("train: {epochs: 8, lr: 0.004, optimizer: adamw, weight_decay: 0.01}")
    assert taught == {("distill", "adamw", 0.004, 0.01), ("prune", "adamw", 0.0016, 0.01)}
    # The rate of a fine-tuning says nothing about what comes after a cut.
    Path("w.safetensors").touch()
    tuned = trained("checkpoint: w.safetensors, train: {epochs: 1, lr: 0.00001}")
    assert tuned == {("distill", "sgd", 0.1, 0.0005), ("prune", "sgd", 0.02, 0.0005)}


def test_stages_may_be_chosen_whole(write: Write) -> None:
    prune = "{choice: [{macs: {search: [0.4, 0.9]}}, {depth: {search: [0.4, 0.9]}}, {params: 0.5}]}"
    space = open_space(write(f"{HEAD}student: {{model: resnet8}}\nstages: [distill, prune: {prune}]\n"))
    assert [(arm.name, arm.cut and arm.cut.name) for arm in space.arms] == [
        ("resnet8: prune 1", "stages.prune.macs"),
        ("resnet8: prune 2", "stages.prune.depth"),
        ("resnet8: prune 3", None),
    ]


@pytest.mark.parametrize("path", FITTED, ids=lambda path: path.name)
def test_shipped_recipes_make_spaces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Their data and checkpoints are no part of the repository.
    monkeypatch.setattr(check, "missing_files", lambda tree: [])
    space = open_space(path)
    assert space.base.name == path.stem
    assert len(space.arms) > 1 and any(arm.dimensions for arm in space.arms)


def test_every_mistake_is_found_before_anything_is_loaded(write: Write) -> None:
    wrong = (
        OPEN.replace("resnet8", "resnet9")
        .replace("fitnet", "fitnt")
        .replace("0.9]", "1.5], log: true}, latncy: {search: [1, 2]")
    )
    with pytest.raises(RecipeError) as error:
        open_space(write(wrong))
    found = str(error.value).splitlines()
    for message in (
        "r.yaml:6: student.model: unknown model 'resnet9' (did you mean 'resnet8'?)",
        "r.yaml:8: stages.0.distill.method: unknown distillation method 'fitnt' (did you mean 'fitnet'?)",
        "r.yaml:9: stages.1.prune.macs: expected a number above 0 and below 1, got 1.5",
        "r.yaml:9: stages.1.prune.latncy: unknown key (did you mean 'latency'?)",
    ):
        assert len([line for line in found if line.startswith(message)]) == 1
    assert len(found) == 4


def test_what_no_search_does_is_refused_with_its_line(write: Write) -> None:
    prune = "prune: {macs: {search: [0.2, 0.9]}, depth: {search: [0.5, 0.9]}}"
    stages = f"stages: [{prune}, quantize: {{lr: {{search: [0.001, 0.01]}}}}]\n"
    with pytest.raises(RecipeError) as error:
        open_space(write(HEAD + stages))
    assert "stages.prune.depth: a search varies one cut, stages.prune.macs; write one value" in str(error.value)
    assert "stages.quantize.lr: no search varies it; write one value, or a choice" in str(error.value)
    masks = HEAD.replace("data:", "task: segmentation\ndata:", 1).replace("budget: {accuracy_drop: 1.0}\n", "")
    both = goal_of(open_space(write(masks + "budget: {drop: {mdice: 2, miou: 1}}\n")))
    assert (both.allowed, both.metric, both.others) == (0.01, None, {"mdice": 0.02})
    one = goal_of(open_space(write(masks + "budget: {drop: {mdice: 2}}\n")))
    assert (one.allowed, one.metric, one.others) == (0.02, "mdice", {})
    with pytest.raises(RecipeError, match="objective: a search makes latency, size, energy or miou best, not mdice"):
        open_space(write(masks + "objective: mdice\n"))
    with pytest.raises(RecipeError, match=r"r.yaml:\d+: budget.energy_mj: no search predicts energy; leave"):
        open_space(write(HEAD.replace("{accuracy_drop: 1.0}", "{accuracy_drop: 1.0, energy_mj: 2}")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "student: {model: small_cnn, args: {width: {search: [8, 16]}}}\nstages: [distill]\n",
            "r.yaml:5: student.args.width: no search varies it; write one value, or a choice",
        ),
        (
            "stages: [prune: {macs: {search: [0.2, 0.9]}, round_to: {search: [1, 8]}}]\n",
            "r.yaml:5: stages.prune.round_to: no search varies it; write one value, or a choice",
        ),
        (
            "stages: [prune: {accuracy_drop: 1.0, epochs: {search: [1, 4]}}]\n",
            "r.yaml:5: stages.0.prune.accuracy_drop: a search knows what a cut costs before any training, and how far "
            "this one goes is found by training; open a share, e.g. macs: {search: [0.2, 0.9]}",
        ),
        (
            "stages: [prune: {drop: {choice: [1.0, 2.0]}}]\n",
            "r.yaml:5: stages.0.prune.drop: a search knows what a cut costs before any training, and how far "
            "this one goes is found by training; open a share, e.g. macs: {search: [0.2, 0.9]}",
        ),
        (
            "student: {model: small_cnn}\nstages: [distill, factorize: {energy: {search: [0.5, 0.9]}}]\n",
            "r.yaml:6: stages.1.factorize.energy: a search knows what a cut costs before any training, and random "
            "weights, from which this student learns, have other ranks than trained ones; give a share, e.g. macs: "
            "{search: [0.2, 0.9]}",
        ),
        (
            "objective: energy\n",
            "r.yaml:5: objective: energy is measured on a Jetson, or where a processor's counters can be read, and not "
            "on cpu; make latency or size best",
        ),
        (
            "targets: [{device: pi, architecture: arm}]\n",
            "r.yaml:5: targets: a search promises what was measured, and nothing is on pi: pi is not in the device "
            "registry; 'edgekd devices add pi --ssh user@host' adds it; or add {device: cpu}, on which the budget is "
            "judged then",
        ),
    ],
)
def test_what_no_search_can_know_is_refused_with_its_line(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "devices.json"))
    with pytest.raises(RecipeError) as error:
        open_space(write(HEAD + text))
    assert str(error.value) == message


def test_the_energy_of_a_board_needs_a_sensor_of_all_its_power() -> None:
    target = Target(device="orin", runtime="tensorrt")
    boards: dict[str, Any] = {"orin": SimpleNamespace(rails=("VDD_CPU_GPU_CV", "VDD_IN", "VDD_SOC"))}
    assert _why_no_energy(target, boards) is None
    boards["orin"].rails = ("VDD_SOC",)
    assert _why_no_energy(target, boards) == "no sensor of orin has the power of the whole module (its rails: VDD_SOC)"
    boards["orin"].rails = ("VDD_IN",)
    assert _why_no_energy(Target(device="orin", runtime="onnxruntime"), boards) is None
    assert str(_why_no_energy(target, {})).endswith("and not on orin")


def test_the_energy_of_this_machine_needs_its_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "ROOT", tmp_path)
    assert str(_why_no_energy(Target(), {})).endswith("and not on cpu")
    package = tmp_path / "sys/class/powercap/intel-rapl:0"
    package.mkdir(parents=True)
    for name, text in {"name": "package-0", "energy_uj": "1", "max_energy_range_uj": "9"}.items():
        (package / name).write_text(text)
    assert _why_no_energy(Target(), {}) is None


def test_students_have_names_of_their_own(write: Write) -> None:
    """Two checkpoints of one network; and names that the recipe gives."""
    for name in ("a.pt", "b.pt"):
        Path(name).touch()
    both = [f"{{model: resnet8, checkpoint: {name}}}" for name in ("a.pt", "b.pt")]
    for choice, names in (
        (f"[{', '.join(both)}]", ["resnet8 from its checkpoint", "resnet8 from its checkpoint (2)"]),
        (f"{{ours: {both[0]}, theirs: {both[1]}}}", ["ours", "theirs"]),
    ):
        stages = "stages: [distill: {epochs: {search: [2, 8]}}]\n"
        space = open_space(write(f"{HEAD}student: {{choice: {choice}}}\n{stages}"))
        assert [arm.name for arm in space.arms] == names
        students = [space.recipe({ARM: name}).student for name in names]
        assert [each and each.checkpoint and each.checkpoint.name for each in students] == ["a.pt", "b.pt"]


def test_a_student_with_an_open_network_learns_first(write: Write) -> None:
    space = open_space(write(f"{HEAD}student: {{model: {{choice: [resnet8, small_cnn]}}}}\n"))
    ways = ("", " by widths", " by blocks and widths")
    ways = [f"student{way}: model {name}" for way in ways for name in ("resnet8", "small_cnn")]
    assert [arm.name for arm in space.arms] == ways
    assert {space.recipe({ARM: arm.name}).stages[0].name for arm in space.arms} == {"distill"}


def test_a_family_is_tried_by_the_stages_that_can_begin_with_it(write: Write) -> None:
    cut = "[prune: {macs: {search: [0.4, 0.9]}}, quantize]"
    space = open_space(write(f"{HEAD}stages: {{choice: {{learned: [distill, quantize], cut: {cut}}}}}\n"))
    members = [f"resnet8 width {width}: learned" for width in (32, 16, 8)]
    assert [arm.name for arm in space.arms] == ["teacher: learned", "teacher: cut", *members]


def test_a_cut_and_a_training_are_options_of_a_stage_itself() -> None:
    """A loss or a network may have options of their names."""
    paths: tuple[Loc, ...] = (
        ("stages", 1, "prune", "macs"),
        ("stages", "prune", "step_epochs"),
        ("stages", "distill", "options", "size"),
        ("stages", 0, "distill", "also", 0, "options", "epochs"),
        ("student", "args", "epochs"),
        ("student", "args", "depth"),
    )
    found = [Dimension(path, OpenRange(1, 2)) for path in paths]
    assert [each.is_cut for each in found] == [True, *[False] * 5]
    assert [each.is_training for each in found] == [False, True, *[False] * 4]


def test_what_changes_costs_is_a_kind_of_its_own(write: Write) -> None:
    student = "student: {model: small_cnn, args: {width: {choice: [8, 16]}}}\n"
    distill = "distill: {method: {choice: [kd, dist]}, epochs: {choice: [2, 4]}}"
    stages = f"stages: [{distill}, prune: {{macs: {{choice: [0.8, 0.5]}}}}]\n"
    space = open_space(write(HEAD + student + stages))
    assert [arm.name for arm in space.arms] == [
        f"small_cnn: width {width}: macs {share}" for width in (8, 16) for share in (0.8, 0.5)
    ]
    assert {each.name for each in space.dimensions} == {"stages.distill.method", "stages.distill.epochs"}
    assert not any(each.is_training for each in space.dimensions)
    scope = open_space(write(f"{HEAD}stages: [prune: {{macs: 0.5, scope: {{choice: [paths, layer]}}}}]\n"))
    assert [arm.name for arm in scope.arms] == ["teacher: scope paths", "teacher: scope layer"]
    item = open_space(write(f"{HEAD}stages: [prune: {{macs: 0.5, ignore: [{{choice: [conv1, layer3.0.conv1]}}]}}]\n"))
    assert [arm.name for arm in item.arms] == ["teacher: ignore conv1", "teacher: ignore layer3.0.conv1"]
    # An option of a loss is none of the stage, whatever it is called.
    also = "[distill: {also: [{method: at, options: {size: {choice: [1, 2]}}}]}]"
    loss = open_space(write(f"{HEAD}student: {{model: resnet8}}\nstages: {also}\n"))
    assert [each.name for each in loss.dimensions] == ["stages.distill.also.0.options.size"] and len(loss.arms) == 1


@pytest.mark.parametrize(
    "stages",
    [
        "[distill: {method: fitnet, pairs: {choice: [[[layer3, layer3]], [[layr3, layer3]]]}}, prune: {macs: 0.5}]",
        "[distill: {choice: {a: {method: kd}, b: {method: fitnet, pairs: [[layr3, layer3]]}}}, prune: {macs: 0.5}]",
    ],
)
def test_layers_that_any_value_names_are_looked_up(write: Write, stages: str) -> None:
    with pytest.raises(RecipeError) as error:
        open_space(write(f"{HEAD}student: {{model: resnet8}}\nstages: {stages}\n"))
    where = "r.yaml:6: stages.0.distill.pairs.0.0"
    assert str(error.value) == f"{where}: no layer is called 'layr3' (did you mean 'layer3'?)"


def test_layers_that_one_of_several_networks_lacks_are_found_by_training(write: Write) -> None:
    student = "student: {choice: [resnet8, small_cnn]}\n"
    space = open_space(write(f"{HEAD}{student}stages: [distill: {{method: fitnet, pairs: [[layer3, layer3]]}}]\n"))
    assert [arm.name for arm in space.arms] == ["resnet8", "small_cnn"]


def test_kinds_of_students_have_names_of_their_own(write: Write) -> None:
    """A list is named by its place in the choice, which may be another value."""
    student = "student: {model: small_cnn, args: {width: {choice: [[8], 1]}}}\n"
    space = open_space(write(f"{HEAD}{student}stages: [distill]\n"))
    assert [arm.name for arm in space.arms] == ["small_cnn: width 1", "small_cnn: width 1 (2)"]
    students = [space.recipe({ARM: arm.name}).student for arm in space.arms]
    assert [each and each.args for each in students] == [{"width": [8]}, {"width": 1}]


def test_choices_of_more_kinds_than_there_is_memory_for_are_refused(write: Write) -> None:
    args = ", ".join(f"{name}: {{choice: {list(range(10))}}}" for name in "abcdefghij")
    with pytest.raises(RecipeError, match="the choices make more than 200 kinds of students, the most that are tried"):
        open_space(write(f"{HEAD}student: {{model: small_cnn, args: {{{args}}}}}\nstages: [distill]\n"))


def test_a_range_is_tried_at_its_ends_and_between_them(write: Write) -> None:
    search = "views: {search: [1, 2]}, generations: {search: [1, 3]}, lr: {search: [0.01, 0.09], log: true}"
    space = open_space(write(f"{HEAD}student: {{model: resnet8}}\nstages: [distill: {{{search}}}]\n"))
    tried = dict(arm_space(space.arms[0]).open)
    assert tried["stages.distill.views"] == (2, 1) and tried["stages.distill.generations"] == (3, 2, 1)
    assert tried["stages.distill.lr"] == (0.09, pytest.approx(0.03), 0.01)


def test_nothing_open_is_a_recipe_for_run(write: Write) -> None:
    with pytest.raises(RecipeError, match="nothing is open, so there is nothing to find; .*'edgekd run r.yaml'"):
        open_space(write(HEAD + "student: {model: resnet8}\nstages: [distill]\n"))


def test_the_page_shows_spaces(write: Write) -> None:
    page = (ROOT / "docs/fit.md").read_text()
    whole, part = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    # The page shows the shipped recipe in short.
    assert open_space(write(whole)).base.name == "fit_digits"
    space = open_space(write(HEAD + part))
    assert [arm.name for arm in space.arms] == ["teacher", "resnet20", "small_cnn: width 8", "small_cnn: width 16"]
