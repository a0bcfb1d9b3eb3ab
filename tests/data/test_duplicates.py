import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from edgekd.data import DataSet, InMemory, load_data
from edgekd.data.duplicates import find_duplicates
from edgekd.pipeline.warnings import data_warnings
from edgekd.preprocess import Preprocess
from edgekd.recipe import Data
from edgekd.tasks.classification import Classification

RANDOM = np.random.default_rng(0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part, count in (("train", 6), ("test", 3)):
        for name in ("bolt", "nut"):
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = RANDOM.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{index}.png")
    return tmp_path


def warnings(**settings: Any) -> dict[str, str]:
    return {each.code: each.message for each in load_data(Data(**settings)).warnings}


def memory(rows: list[list[float]], labels: list[int]) -> InMemory:
    return InMemory(torch.tensor(rows), torch.tensor(labels))


def test_without_copies_there_is_no_doubt(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for in_memory in (True, False):
        assert warnings(source="folder", path=root, in_memory=in_memory) == {}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_test_image_that_is_trained_on_is_named(
    root: Path, in_memory: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(root / "train" / "bolt" / "2.png", root / "test" / "bolt" / "copy.png")
    found = warnings(source="folder", path=root, in_memory=in_memory)
    assert found == {
        "test_samples_seen": "1 of 7 test samples is also trained on or chosen by (test/bolt/copy.png is "
        "train/bolt/2.png): the accuracy is not that of unseen samples; remove them from one of the two"
    }
    assert f"warning: {found['test_samples_seen']}" in capsys.readouterr().err


def test_what_counts_in_memory_are_pixels_not_bytes(root: Path) -> None:
    Image.open(root / "train" / "nut" / "0.png").save(root / "test" / "nut" / "0.bmp")
    assert "test/nut/0.bmp is train/nut/0.png" in warnings(source="folder", path=root)["test_samples_seen"]


@pytest.mark.parametrize("in_memory", [True, False])
def test_one_image_under_two_labels_is_named(root: Path, in_memory: bool) -> None:
    shutil.copy(root / "train" / "bolt" / "2.png", root / "train" / "nut" / "9.png")
    message = warnings(source="folder", path=root, in_memory=in_memory)["contradicting_labels"]
    assert "train/bolt/2.png is 'bolt'" in message and "train/nut/9.png is 'nut'" in message


@pytest.mark.parametrize("in_memory", [True, False])
def test_unlabelled_images_are_trained_on_too(root: Path, in_memory: bool) -> None:
    (root / "more").mkdir()
    shutil.copy(root / "test" / "nut" / "1.png", root / "more" / "a.png")
    shutil.copy(root / "train" / "nut" / "1.png", root / "more" / "b.png")
    found = warnings(source="folder", path=root, unlabelled=root / "more", in_memory=in_memory)
    assert found.keys() == {"test_samples_seen"} and "test/nut/1.png is a.png" in found["test_samples_seen"]


def test_rows_of_arrays_are_named_by_number(tmp_path: Path) -> None:
    x, y = RANDOM.normal(size=(12, 3)), np.arange(12) % 2
    np.savez(tmp_path / "set.npz", train_x=x, train_y=y, test_x=x[[7, 5]], test_y=[1, 0])
    found = warnings(source="npz", path=tmp_path / "set.npz")
    assert "2 of 2 test samples are" in found["test_samples_seen"]
    assert "row 0 of test is row 7 of train, row 1 of test is row 5 of train" in found["test_samples_seen"]
    assert "row 5 of train is '1', row 1 of test is '0'" in found["contradicting_labels"]


def test_counts_are_of_samples_and_of_groups() -> None:
    train = memory([[1.0], [1.0], [2.0], [3.0]], [0, 1, 0, 0])
    test = memory([[1.0], [1.0], [9.0], [9.0]], [0, 0, 1, 1])
    found = {
        each.code: each.message for each in find_duplicates({"train": train, "test": test}, Classification(("a", "b")))
    }
    assert found["test_samples_seen"].startswith("2 of 4 test samples are")
    assert found["contradicting_labels"].startswith("1 sample is there under different labels")


def test_the_report_warns_of_them() -> None:
    samples = memory([[1.0], [2.0]], [0, 1])
    found = tuple(find_duplicates({"train": samples, "test": samples}, Classification(("a", "b"))))
    scale = Preprocess("vector", (1,), (0.0,), (1.0,))
    data = DataSet("twins", ("a", "b"), scale, samples, samples, samples, warnings=found)
    [note] = data_warnings(data)
    assert note.code == "test_samples_seen" and note.message.startswith("2 of 2 test samples are also trained on")
