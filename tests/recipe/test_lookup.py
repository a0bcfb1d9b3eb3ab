"""``edgekd recipe check`` looks up what a recipe names: all mistakes at once, each with its line."""

from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

from edgekd.cli.recipe import checked
from edgekd.errors import RecipeError
from edgekd.pipeline import check as module
from edgekd.pipeline.check import check_recipe

Write = Callable[..., Path]

WRONG = """\
name: wrong
data: {source: folder, path: imgaes, unlabelled: nets.py}
teacher:
  model: nets.py:taecher
  checkpoint: weights.pt
  others:
    - {model: torchvision/resnet19, train: {epochs: 1}}
student: {model: resnet21, checkpoint: images}
stages:
  - distill: {method: dkdd, also: [{method: fitnetz}], epoch: 3}
  - prune: {macs: 0.5, importance: taylr}
targets:
  - {device: jetsn}
"""
NETS = """\
from torch import nn

if True:
    def teacher(): ...
Student = nn.Linear
"""


def mistakes(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        check_recipe(path, overrides)
    return str(caught.value).splitlines()


def test_all_mistakes_are_found_at_once(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "none.json"))
    monkeypatch.setattr("edgekd.recipe.mistakes.MOST", 20)
    (tmp_path / "images").mkdir()
    write(NETS, "nets.py")
    found = mistakes(write(WRONG))
    assert [line.split(": ")[:2] for line in found] == [
        ["r.yaml:2", "data.path"],
        ["r.yaml:2", "data.unlabelled"],
        ["r.yaml:4", "teacher.model"],
        ["r.yaml:5", "teacher.checkpoint"],
        ["r.yaml:7", "teacher.others.0.model"],
        ["r.yaml:8", "student.checkpoint"],
        ["r.yaml:8", "student.model"],
        ["r.yaml:10", "stages.0.distill.epoch"],
        ["r.yaml:10", "stages.0.distill.method"],
        ["r.yaml:10", "stages.0.distill.also.0.method"],
        ["r.yaml:11", "stages.1.prune.importance"],
        ["r.yaml:13", "targets.0"],
    ]
    says = dict(zip((line.split(": ")[1] for line in found), found, strict=True))
    assert f"there is no {tmp_path}/imgaes (did you mean 'images'?); give" in says["data.path"]
    assert says["data.unlabelled"].endswith("nets.py is a file; name a folder")
    assert "has no function 'taecher' (did you mean 'teacher'?); it defines: teacher" in (says["teacher.model"])
    assert says["student.checkpoint"].endswith("images is a folder; name the file in it")
    for key, near in (
        ("teacher.others.0.model", "resnet18"),
        ("student.model", "resnet20"),
        ("stages.0.distill.method", "dkd"),
        ("stages.0.distill.also.0.method", "fitnet"),
        ("stages.1.prune.importance", "taylor"),
    ):
        assert near in says[key], says[key]


@pytest.mark.parametrize(
    ("source", "files", "said"),
    [
        ("folder", ["train/cat/1.png"], "there is no folder {root}/test: an image folder holds train/<class>/* and"),
        ("folder", ["train/cat/1.png", "test/dog/1.png"], "do not have the same class folders; in one only: cat, dog"),
        ("folder", ["train/cat/1.png", "test/cat/1.txt"], "{root}/test/cat holds no images (.jpg"),
        ("masks", ["train/images/1.png"], "cannot read {root}/classes.txt"),
        ("masks", ["classes.txt", "train/images/1.png"], "there is no folder {root}/train/masks: images with masks"),
        ("coco", ["train.json"], "{root} has no annotations of test images; expected train.json and test.json"),
        ("yolo", ["classes.txt", "images/train/1.png"], "{root} has no images of test; expected images/train"),
        ("yolo", ["images/train/1.png"], "{root} has no names of classes"),
        ("voc", ["train/1.xml"], "{root} has no annotations of test images; expected train/*.xml"),
        ("csv", ["train.csv"], "cannot read {root}/test.csv"),
        ("csv", ["train.csv", "test.csv"], "{root}/train.csv: all columns are targets"),
        ("npz", ["train_x.npy", "train_y.npy"], "has no array 'test_x'; expected train_x, train_y, test_x, test_y"),
    ],
)
def test_a_source_needs_its_files_and_task(
    write: Write, tmp_path: Path, source: str, files: list[str], said: str
) -> None:
    root = tmp_path / "set"
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("y\n")
    if source == "npz":
        with ZipFile(tmp_path / "set.npz", "w") as archive:
            for name in files:
                archive.write(root / name, name)
        root = tmp_path / "set.npz"
    text = f"name: x\ndata:\n  source: {source}\n  path: {root}\nteacher: {{model: mlp}}\nstages: [distill]\n"
    told = mistakes(write(text))
    found = [line for line in told if "data.path" in line]
    assert len(found) == 1 and found[0].startswith("r.yaml:4: data.path: ")
    assert said.format(root=root) in found[0]
    kind, task = ("masks", "segmentation") if source == "masks" else ("boxes", "detection")
    other = f"r.yaml:3: data.source: its targets are {kind}, and those of classification are not; set task: {task}"
    assert (other in told) == (source in ("masks", "coco", "yolo", "voc"))


LAYERS = """\
name: layers
data: {source: digits}
teacher: {model: resnet20, train: {epochs: 1}}
student: {model: resnet8}
stages:
  - distill: {method: fitnet, pairs: [[layer1, layer1], [layer2, layr3]]}
  - prune: {macs: 0.5, ignore: ["layer1.*", conv9]}
"""


def test_layers_are_looked_up_in_the_networks(write: Write) -> None:
    path = write(LAYERS)
    found = mistakes(path)
    assert [line.split(": ")[1] for line in found] == ["stages.0.distill.pairs.1.1", "stages.1.prune.ignore.1"]
    assert "no layer is called 'layr3' (did you mean 'layer3'?)" in found[0]
    assert "'conv9' matches no layer (did you mean 'conv1'?)" in found[1] or "matches no layer" in found[1]
    # Where nothing but the data says what the network takes, they wait for the data.
    vectors = ["data.source=breast_cancer", "teacher.model=mlp", "student.model=mlp"]
    found_later = check_recipe(path, vectors)
    assert "'edgekd run --dry-run' looks them up" in found_later.notes[0]


def test_a_recipe_that_leaves_fields_open_says_its_targets_too(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "none.json"))
    text = LAYERS[: LAYERS.index("stages")] + "stages: [distill, prune: {macs: {search: [0.3, 0.9]}}]\n"
    document, words = checked(write(text), [])
    assert words.startswith("ok  layers  (edgekd fit: ") and "\ntarget   cpu: model.cpu.onnx, for " in words
    assert [each["file"] for each in document["targets"]] == ["model.cpu.onnx"]
    with pytest.raises(RecipeError, match="r.yaml:6: targets.0: 'jetsn' is not in the device registry"):
        checked(write(text + "targets: [{device: jetsn}]\n"), [])


def test_without_pytorch_it_says_what_was_not_looked_up(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_torch", lambda: False)
    assert check_recipe(write(LAYERS)).notes == (module.WITHOUT_TORCH,)


def test_a_module_that_takes_its_names_from_another_is_believed(write: Write) -> None:
    write("from elsewhere import *\n", "nets.py")
    text = LAYERS[: LAYERS.index("stages")].replace("resnet8", "'nets.py:anything'")
    path = write(text + "stages: [distill]\n")
    assert check_recipe(path).recipe.student.model.endswith("nets.py:anything")
    write("def (\n", "nets.py")
    assert (
        "r.yaml:4: student.model: " in mistakes(path)[0] and "is no Python file that can be read" in mistakes(path)[0]
    )
