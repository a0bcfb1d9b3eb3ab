"""Validation samples: those that the data have, or a share of the training or of the test samples."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from edgekd.data import DataSet, Samples, in_order, load_data
from edgekd.errors import DataError
from edgekd.options import Mistake
from edgekd.recipe import Data
from edgekd.tasks.classification import Classification
from edgekd.tasks.detection import Detection
from edgekd.tasks.detection.annotations import coco, voc, yolo
from edgekd.tasks.regression import Regression
from edgekd.tasks.segmentation import Segmentation
from tests.tasks.detection import annotated

COUNTS = {"train": 8, "test": 6, "val": 4}
RANDOM = np.random.default_rng(0)
FUNCTION = """\
import numpy as np

def load():
    content = np.load({path!r})
    return {{part: (content[part + "_x"], content[part + "_y"]) for part in ("train", "test", "val")}}
"""


def arrays() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part, count in COUNTS.items():
        found |= {f"{part}_x": RANDOM.random((count, 3)), f"{part}_y": np.arange(count) % 2}
    return found


def archive(root: Path) -> Path:
    np.savez(root / "d.npz", **arrays())
    return root / "d.npz"


def several_inputs(root: Path) -> Path:
    named = {f"{name}.a": each.astype(np.float32) for name, each in arrays().items() if name.endswith("_x")}
    np.savez(root / "d.npz", **named, **{name: each for name, each in arrays().items() if name.endswith("_y")})
    return root / "d.npz"


def tables(root: Path) -> Path:
    for part, count in COUNTS.items():
        rows = "".join(f"{RANDOM.random()},{RANDOM.random()},{row % 2}\n" for row in range(count))
        (root / f"{part}.csv").write_text("a,b,kind\n" + rows)
    return root


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RANDOM.integers(0, 256, (8, 8), np.uint8)).save(path)


def images(root: Path) -> Path:
    for part, count in COUNTS.items():
        for index in range(count):
            picture(root / part / ("bolt", "nut")[index % 2] / f"{index}.png")
    return root


def masks(root: Path) -> Path:
    for part, count in COUNTS.items():
        for index in range(count):
            picture(root / part / "images" / f"{index}.png")
            (root / part / "masks").mkdir(exist_ok=True)
            Image.fromarray(np.full((8, 8), index % 2, np.uint8)).save(root / part / "masks" / f"{index}.png")
    (root / "classes.txt").write_text("sky\nroad\n")
    return root


def boxes(write: Callable[[Path], Path], *moved: str) -> Callable[[Path], Path]:
    """Write a data set whose test part is copied to validation, with other pixels."""

    def written(root: Path) -> Path:
        write(root)
        for each in moved:
            source = root / each
            target = root / each.replace("test", "val").replace("valid", "val")
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        for path in root.rglob("val/*.png"):
            annotated.picture(path, 50 + int(path.stem))
        return root

    return written


def yolo_with_test(root: Path) -> Path:
    annotated.yolo(root)
    for kind in ("images", "labels"):
        shutil.copytree(root / kind / "val", root / kind / "test")
    for path in root.rglob("val/*.png"):
        annotated.picture(path, 50 + int(path.stem))
    return root


CASES: dict[str, tuple[str, Callable[[Path], Path], type, dict[str, int]]] = {
    "npz": ("npz", archive, Classification, COUNTS),
    "several inputs": ("npz", several_inputs, Classification, COUNTS),
    "csv": ("csv", tables, Regression, COUNTS),
    "folder": ("folder", images, Classification, COUNTS),
    "masks": ("masks", masks, Segmentation, COUNTS),
    "coco": ("coco", boxes(annotated.coco, "test", "test.json"), Detection, dict.fromkeys(COUNTS, 2)),
    "yolo": ("yolo", yolo_with_test, Detection, dict.fromkeys(COUNTS, 2)),
    "voc": ("voc", boxes(annotated.voc, "test"), Detection, dict.fromkeys(COUNTS, 2)),
}


def rows(samples: Samples) -> list[bytes]:
    """Return the samples' values, whatever their order is."""
    raw = [part if isinstance(part, torch.Tensor) else part["a"] for part, _ in in_order(samples, 4)]
    return sorted(row.numpy().tobytes() for row in torch.cat(raw))


def counts(data: DataSet) -> dict[str, int]:
    return {"train": len(data.train), "test": len(data.test), "val": len(data.validation)}


@pytest.mark.parametrize("name", CASES)
def test_the_validation_samples_of_the_data_are_those_to_choose_by(name, tmp_path, capsys):
    source, write, kind, expected = CASES[name]
    path = write(tmp_path)
    data = load_data(Data(source=source, path=path), kind=kind)
    assert counts(data) == expected and data.validation_of == "validation"
    assert not data.warnings and capsys.readouterr().err == ""
    held_out = load_data(Data(source=source, path=path, validation=0.5), kind=kind)
    whole = sorted([*rows(held_out.train), *rows(held_out.validation)])
    assert rows(data.train) == whole and rows(data.test) == rows(held_out.test)
    assert not {*rows(data.validation)} & {*whole, *rows(data.test)}
    assert held_out.validation_of == "train" and held_out.fingerprint != data.fingerprint
    assert "validation samples are held out of train" in capsys.readouterr().err


def test_a_function_may_give_validation_samples(tmp_path):
    path = archive(tmp_path)
    (tmp_path / "own.py").write_text(FUNCTION.format(path=str(path)))
    data = load_data(Data(source=f"{tmp_path / 'own.py'}:load"))
    assert counts(data) == COUNTS
    expected = np.load(path)["val_x"].astype(np.float32)
    assert rows(data.validation) == sorted(row.tobytes() for row in expected)
    assert data.validation.labels.tolist() == [0, 1, 0, 1]


def test_streamed_images(tmp_path):
    path = images(tmp_path)
    streamed = load_data(Data(source="folder", path=path, in_memory=False, workers=0))
    assert counts(streamed) == COUNTS
    assert rows(streamed.validation) == rows(load_data(Data(source="folder", path=path)).validation)


@pytest.mark.parametrize("name", ["npz", "folder", "csv", "masks"])
def test_a_share_of_the_test_samples(name, tmp_path):
    """What is left to test on is the same with each seed of a recipe."""
    source, write, kind, _ = CASES[name]
    path = write(tmp_path)
    whole = load_data(Data(source=source, path=path), kind=kind)
    found = [load_data(Data(source=source, path=path, validation_of="test"), seed, kind) for seed in (0, 1)]
    for data in found:
        assert counts(data) == {"train": 8, "test": 3, "val": 3} and data.validation_of == "test"
        assert rows(data.train) == rows(whole.train)
        assert sorted([*rows(data.test), *rows(data.validation)]) == rows(whole.test)
    assert rows(found[0].test) == rows(found[1].test) and found[0].fingerprint == found[1].fingerprint
    less = load_data(Data(source=source, path=path, validation_of="test", validation=0.34), kind=kind)
    assert (len(less.validation), len(less.test)) == (2, 4)


def test_samples_that_are_also_trained_on(tmp_path):
    path = images(tmp_path)
    shutil.copy(path / "train/nut/1.png", path / "val/nut/9.png")
    [warning] = load_data(Data(source="folder", path=path)).warnings
    assert warning.code == "validation_samples_seen"
    assert warning.message == (
        "1 of 5 validation samples is also trained on (val/nut/9.png is train/nut/1.png): choices by them favour what "
        "was learned; remove them from one of the two"
    )
    shutil.copy(path / "val/nut/3.png", path / "test/nut/8.png")
    found = {each.code: each.message for each in load_data(Data(source="folder", path=path)).warnings}
    assert found.keys() == {"test_samples_seen", "validation_samples_seen"}
    assert "1 of 7 test samples is also trained on or chosen by (test/nut/8.png is val/nut/3.png)" in str(found)


def test_rows_are_those_of_their_own_part(tmp_path):
    content = arrays()
    content["test_x"][5] = content["val_x"][3]
    np.savez(tmp_path / "d.npz", **content)
    [warning] = load_data(Data(source="npz", path=tmp_path / "d.npz")).warnings
    assert "row 5 of test is row 3 of validation" in warning.message


def test_mistakes_name_the_part(tmp_path):
    path = images(tmp_path)
    (path / "valid").mkdir()
    with pytest.raises(DataError, match=r"val, valid: each is a name of validation samples; leave one there"):
        load_data(Data(source="folder", path=path))
    (path / "valid").rmdir()
    shutil.rmtree(path / "val/nut")
    with pytest.raises(DataError, match=r"train and val do not have the same .*: nut; data.validation holds samples"):
        load_data(Data(source="folder", path=path))
    content = arrays()
    np.savez(path / "d.npz", **{**content, "val_x": content["val_x"][:, :2]})
    with pytest.raises(DataError, match=r"training samples are \(8, 3\), validation samples \(4, 2\)"):
        load_data(Data(source="npz", path=path / "d.npz"))
    del content["val_y"]
    np.savez(path / "d.npz", **content)
    with pytest.raises(DataError, match="has no array 'val_y'"):
        load_data(Data(source="npz", path=path / "d.npz"))
    (tables(path) / "val.csv").write_text("a,kind,b\n1,2,3\n")
    with pytest.raises(DataError, match=r"val.csv: its columns are not those of train.csv"):
        load_data(Data(source="csv", path=path), kind=Regression)


def test_the_one_set_next_to_training_is_to_test_on(tmp_path):
    assert not yolo.has_validation(annotated.yolo(tmp_path / "yolo"))
    root = annotated.coco(tmp_path / "coco")
    (root / "test.json").rename(root / "val.json")
    (root / "test").rename(root / "val")
    assert not coco.has_validation(root)
    assert counts(load_data(Data(source="coco", path=root, validation=0.5), kind=Detection))["test"] == 2


def test_lists_of_vocdevkit(tmp_path):
    """VOC2007 has train, val, trainval and test: what is in trainval is not to choose by where it is trained on."""
    made = annotated.voc(tmp_path / "made")
    lists = tmp_path / "ImageSets/Main"
    for each in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / each).mkdir(parents=True)
    for part in ("train", "test"):
        for n in (1, 2):
            (made / part / f"{n}.xml").rename(tmp_path / f"Annotations/{part}{n}.xml")
            (made / part / f"{n}.png").rename(tmp_path / f"JPEGImages/{part}{n}.png")
    for name, images_of in (("train", ["train1"]), ("val", ["train2"]), ("trainval", ["train1", "train2"])):
        (lists / f"{name}.txt").write_text("\n".join(images_of) + "\n")
    (lists / "test.txt").write_text("test1\ntest2\n")
    assert voc.has_validation(tmp_path)
    assert [path.stem for path in voc.find_files(tmp_path, "validation")] == ["train2"]
    (lists / "train.txt").unlink()
    assert not voc.has_validation(tmp_path)


@pytest.mark.parametrize("share", [0, 0.51, -1])
def test_a_share_that_cannot_be(share):
    with pytest.raises((Mistake, ValueError), match="validation"):
        Data(source="digits", validation=share)
