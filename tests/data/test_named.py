"""Several inputs by name, from archives and functions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgekd.data import Data, DataSet, load_data
from edgekd.errors import DataError

RANDOM = np.random.default_rng(0)


def archive(path: Path, **changed: Any) -> Path:
    arrays = {
        "train_x.image": RANDOM.random((40, 1, 4, 4)).astype(np.float32),
        "train_x.tokens": RANDOM.integers(0, 9, (40, 5)),
        "train_y": np.arange(40) % 2,
        "test_x.image": RANDOM.random((10, 1, 4, 4)).astype(np.float32),
        "test_x.tokens": RANDOM.integers(0, 9, (10, 5)),
        "test_y": np.arange(10) % 2,
        **changed,
    }
    np.savez(path, **{name: each for name, each in arrays.items() if each is not None})
    return path


def loaded(path: Path, **options: Any) -> DataSet:
    return load_data(Data(source="npz", path=path, **options))


def test_inputs_are_taken_as_they_are(tmp_path):
    path = archive(tmp_path / "two.npz")
    data = loaded(path, batch_size=8)
    assert (data.preprocess.kind, data.input_shape) == ("tensors", ())
    inputs = list(data.inputs(data.test))
    assert [list(each) for each in inputs] == [["image", "tokens"]] * 2
    assert inputs[0]["tokens"].dtype == torch.int64
    whole = torch.cat([each["image"] for each in inputs]).numpy()
    np.testing.assert_array_equal(whole, np.load(path)["test_x.image"])


def test_open_axes_have_names(tmp_path):
    path = archive(tmp_path / "two.npz")
    data = loaded(path, open={"tokens": ("length",), "image": (None, "height", "width")})
    assert data.open == {"tokens": {1: "length"}, "image": {2: "height", 3: "width"}}
    assert data.fingerprint != loaded(path).fingerprint == loaded(path).fingerprint


def test_copies_are_equal_in_all_inputs(tmp_path):
    image, tokens = np.zeros((10, 1, 4, 4), np.float32), np.arange(50).reshape(10, 5)
    assert not loaded(archive(tmp_path / "a.npz", **{"test_x.image": image, "test_x.tokens": tokens})).warnings
    tokens[1] = tokens[0]
    [warning] = loaded(archive(tmp_path / "b.npz", **{"test_x.image": image, "test_x.tokens": tokens})).warnings
    assert warning.code == "contradicting_labels"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test_x.tokens": None}, "has no array 'test_x.tokens'"),
        (
            {"test_x.tokens": np.zeros((10, 4), int)},
            r"training sample's tokens is int64 \(5,\), a test sample's int64",
        ),
        ({"train_x.tokens": np.zeros((39, 5), int)}, r"different numbers of samples \(image 40, tokens 39\)"),
        ({"train_x.tokens": np.full((40, 5), np.nan, np.float32)}, r"train_x\['tokens'\]: row 0 .* holds nan"),
        ({"train_x.tokens": np.zeros((40, 5), np.uint32)}, r"is uint32 of shape \(40, 5\); expected arrays"),
        ({"train_y": np.zeros((40, 2), int)}, r"labels of shape \(40, 2\)"),
    ],
)
def test_what_is_refused(tmp_path, changed, message):
    with pytest.raises(DataError, match=message):
        loaded(archive(tmp_path / "two.npz", **changed))


def test_axes_of_images_are_not_open(tmp_path):
    with pytest.raises(DataError, match="data.open is of several inputs by name, and digits gives images"):
        load_data(Data(source="digits", open={"input": ("height",)}))
