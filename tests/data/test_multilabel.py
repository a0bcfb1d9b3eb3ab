"""Samples with any number of labels: from arrays, split, and put together with images that have none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from edgekd.data import Data, DataSet, load_data
from edgekd.errors import DataError
from edgekd.tasks.multilabel import Multilabel
from edgekd.train.batches import batches
from edgekd.train.evaluate import metric_of

NAMES = ("cat", "dog", "fox")


def archive(path: Path, **changed: Any) -> Path:
    random = np.random.default_rng(0)
    arrays = {
        "train_x": random.integers(0, 255, (60, 6, 6), np.uint8),
        "train_y": random.random((60, 3)) < 0.4,
        "test_x": random.integers(0, 255, (20, 6, 6), np.uint8),
        "test_y": random.integers(-1, 2, (20, 3)),
        "classes": np.array(NAMES),
        **changed,
    }
    np.savez(path, **arrays)
    return path


def loaded(path: Path, **options: Any) -> DataSet:
    return load_data(Data(source="npz", path=path, **options), 0, Multilabel)


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    return loaded(archive(tmp_path / "pets.npz"), validation=0.2)


def test_rows_of_labels_are_the_targets(data: DataSet) -> None:
    assert (data.classes, data.task) == (NAMES, Multilabel(NAMES))
    assert [tuple(each.labels.shape) for each in (data.train, data.validation, data.test)] == [
        (48, 3),
        (12, 3),
        (20, 3),
    ]
    assert set(data.test.labels.unique().tolist()) == {-1, 0, 1}


def test_another_task_is_other_data(data: DataSet, tmp_path: Path) -> None:
    same = loaded(archive(tmp_path / "again.npz"), validation=0.2)
    other = loaded(archive(tmp_path / "other.npz", train_y=np.eye(3, dtype=int)[np.arange(60) % 3]), validation=0.2)
    assert same.fingerprint == data.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"train_y": np.zeros(60, int)},
            r"train_y gives 60 samples and labels of shape \(60,\) \(int64\); expected a row of 0 and 1 for each "
            "sample, a column for each label, and -1 where it is not known; for one class per sample leave task out",
        ),
        ({"test_y": np.full((20, 3), 2)}, "test_y: a label is 2; expected a row of 0 and 1"),
        ({"test_y": np.full((20, 3), 0.5)}, r"labels of shape \(20, 3\) \(float64\)"),
        ({"classes": np.array(["cat"])}, "has rows of 3 labels, and there are 1 names of labels"),
        (
            {"train_y": np.tile([1, 0, 0], (60, 1))},
            "there is no training sample that has the label 'dog'; add some, or drop the label",
        ),
        (
            {"train_y": np.tile([1, 1, 0], (60, 1)) * (np.arange(60) % 2)[:, None] | [1, 0, 1]},
            "there is no training sample that lacks the label 'cat'",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        loaded(archive(tmp_path / "pets.npz", **changed))


def test_a_source_of_classes_is_refused() -> None:
    with pytest.raises(DataError, match="digits gives one class for each sample, and the task is multilabel"):
        load_data(Data(source="digits"), 0, Multilabel)


def test_rows_for_a_classifier_name_the_task(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="for any number of labels per sample set task: multilabel"):
        load_data(Data(source="npz", path=archive(tmp_path / "pets.npz")))


def test_names_that_are_left_out_are_numbers(tmp_path: Path) -> None:
    path = archive(tmp_path / "pets.npz")
    content = dict(np.load(path))
    del content["classes"]
    np.savez(path, **content)
    assert loaded(path).classes == ("0", "1", "2")


def test_a_label_that_no_test_sample_has_is_told(tmp_path: Path) -> None:
    rows = np.tile([1, 1, 0], (20, 1))
    [warning] = [
        each for each in loaded(archive(tmp_path / "pets.npz", test_y=rows)).warnings if "test" in each.message
    ]
    assert (warning.code, "'fox'" in warning.message) == ("metrics_say_less", True)


def test_equal_samples_contradict_where_both_are_known(tmp_path: Path) -> None:
    same = np.zeros((20, 6, 6), np.uint8)
    rows = np.tile([1, 0, -1], (20, 1))
    assert "contradicting_labels" not in codes(loaded(archive(tmp_path / "pets.npz", test_x=same, test_y=rows)))
    rows[3] = [1, -1, 1]
    assert "contradicting_labels" not in codes(loaded(archive(tmp_path / "pets.npz", test_x=same, test_y=rows)))
    rows[4] = [1, 1, 0]
    found = codes(loaded(archive(tmp_path / "pets.npz", test_x=same, test_y=rows)))
    assert "row 0 of test is 'cat', row 4 of test is 'cat' and 'dog'" in found["contradicting_labels"]


def codes(data: DataSet) -> dict[str, str]:
    return {each.code: each.message for each in data.warnings}


def test_images_without_labels_are_trained_on_too(tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    for number in range(6):
        Image.fromarray(np.full((6, 6), 40 * number, np.uint8)).save(folder / f"{number}.png")
    data = loaded(archive(tmp_path / "pets.npz"), unlabelled=folder, unlabelled_share=0.25, batch_size=8)
    first = next(iter(batches(data, 0, 0)))
    assert (data.train.labels[first] < 0).all(1).sum() == 2
    ((raw, targets),) = data.train.stream([first])
    assert (raw.shape, targets.shape) == ((8, 1, 6, 6), (8, 3))
    assert (data.labelled_only().train.labels >= 0).all()


def test_it_is_scored_by_its_own_metrics(data: DataSet) -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3)).eval()
    assert 0.2 < metric_of(network, data, data.validation) < 0.9
