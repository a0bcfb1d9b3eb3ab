from pathlib import Path

import numpy as np
import pytest
import torch

from edgekd.data import load_data
from edgekd.errors import DataError
from edgekd.recipe import Data

RANDOM = np.random.default_rng(0)
LABELS = np.arange(12) % 3
RGB = RANDOM.integers(0, 256, (12, 8, 6, 3), dtype=np.uint8)
GREY = RANDOM.integers(0, 256, (12, 8, 6), dtype=np.uint8)
VECTORS = RANDOM.normal(size=(12, 5))


def save(folder: Path, **changes: object) -> Data:
    arrays = {"train_x": VECTORS, "train_y": LABELS, "test_x": VECTORS[:4], "test_y": LABELS[:4]} | changes
    np.savez(folder / "set.npz", **{key: value for key, value in arrays.items() if value is not None})
    return Data(source="npz", path=folder / "set.npz")


def write_function(folder: Path, body: str) -> str:
    (folder / "mine.py").write_text(f"import numpy as np\n\n\n{body}\n")
    return f"{folder / 'mine.py'}:samples"


def complaint(data: Data) -> str:
    with pytest.raises(DataError) as error:
        load_data(data)
    return str(error.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (GREY, GREY[:, None]),
        (RGB, RGB.transpose(0, 3, 1, 2)),
        (RGB.transpose(0, 3, 1, 2), RGB.transpose(0, 3, 1, 2)),
        (GREY[..., None], GREY[:, None]),
        (VECTORS, VECTORS.astype(np.float32)),
    ],
    ids=["HW", "HWC", "CHW", "HW1", "vectors"],
)
def test_npz_round_trip(tmp_path, given, expected):
    data = load_data(save(tmp_path, train_x=given, test_x=given[:4]))
    assert data.input_shape == expected.shape[1:]
    assert data.classes == ("0", "1", "2")
    assert np.array_equal(data.test.raw.numpy(), expected[:4])
    ours = np.concatenate([data.train.raw, data.validation.raw])
    assert sorted(map(bytes, ours)) == sorted(bytes(np.ascontiguousarray(row)) for row in expected)


def test_npz_names_its_classes(tmp_path):
    assert load_data(save(tmp_path, classes=np.array(["ant", "bee", "cow"]))).classes == ("ant", "bee", "cow")


def test_colours_are_converted(tmp_path):
    """Pillow's grey is ITU-R 601-2 luma: (299 R + 587 G + 114 B) / 1000."""
    arrays = {"train_x": RGB, "test_x": RGB[:4]}
    grey = load_data(save(tmp_path, **arrays).model_copy(update={"grayscale": True})).test.raw.numpy()
    luma = (RGB[:4].astype(float) * [0.299, 0.587, 0.114]).sum(-1)
    assert np.abs(grey[:, 0] - luma).max() <= 1
    arrays = {"train_x": GREY, "test_x": GREY[:4]}
    colour = load_data(save(tmp_path, **arrays).model_copy(update={"grayscale": False})).test.raw.numpy()
    assert np.array_equal(colour, np.stack([GREY[:4]] * 3, 1))


def test_images_are_resized(tmp_path):
    flat = np.full((12, 8, 6), 77, np.uint8)
    data = load_data(save(tmp_path, train_x=flat, test_x=flat[:4]).model_copy(update={"image_size": 5}))
    assert data.input_shape == (1, 5, 5)
    assert (data.train.raw == 77).all()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"test_y": None}, "has no array 'test_y'; expected train_x, train_y, test_x, test_y"),
        ({"train_y": LABELS[:5]}, "12 samples and labels of shape (5,) (int64); expected one whole number per sample"),
        ({"train_y": LABELS * 1.0}, "labels of shape (12,) (float64); expected one whole number per sample"),
        ({"train_y": LABELS - 1}, "labels start at 0, the smallest is -1"),
        ({"train_y": LABELS.astype(str)}, "is no array of numbers"),
        ({"test_y": LABELS[:4] + 5}, "a label is 7, but there are 3 classes (0 first)"),
        ({"classes": np.array(["a", "b"])}, "a label is 2, but there are 2 classes (0 first)"),
        ({"classes": np.array(list("abcd"))}, "class 'd' has fewer than two training samples; add more, or drop"),
        ({"train_y": LABELS * 0, "test_y": LABELS[:4] * 0}, "has one class only (0): there is nothing to tell apart"),
        ({"train_x": RGB / 255.0}, "gives float64 samples of shape (12, 8, 6, 3); expected images as uint8"),
        ({"train_x": VECTORS * 1j}, "gives complex128 samples of shape (12, 5); expected"),
        ({"train_x": np.float32(1)}, "gives float32 samples of shape (); expected"),
        ({"train_x": VECTORS.astype(str)}, "is no array of numbers"),
        ({"train_x": np.where(VECTORS > 1, np.nan, VECTORS)}, "train_x: row "),
        ({"test_x": VECTORS[:4, :2]}, "training samples are (12, 5), test samples (4, 2); they must be alike"),
        ({"test_x": GREY[:4]}, "training samples are (12, 5), test samples (4, 1, 8, 6); they must be alike"),
        ({"train_x": np.zeros((12, 8, 8, 4), np.uint8), "test_x": np.zeros((4, 8, 8, 4), np.uint8)}, "channels, not 4"),
        ({"test_x": VECTORS[:0], "test_y": LABELS[:0]}, "test_x gives float64 samples of shape (0, 5)"),
    ],
)  # fmt: skip
def test_npz_mistakes(tmp_path, changes, says):
    assert says in complaint(save(tmp_path, **changes))


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "npy", "pickle"])
def test_a_damaged_npz_is_named(tmp_path, damage):
    data = save(tmp_path)
    assert data.path is not None
    if damage == "npy":
        with data.path.open("wb") as file:
            np.save(file, VECTORS)
    elif damage == "pickle":
        np.savez(data.path, **dict.fromkeys(("train_x", "train_y", "test_x", "test_y"), np.array([{}], object)))
    else:
        whole = data.path.read_bytes()
        data.path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"not an archive"}[damage])
    assert complaint(data).startswith(f"{data.path} cannot be read as a .npz of plain arrays: ")


def test_a_missing_npz_is_named(tmp_path):
    path = tmp_path / "none.npz"
    assert complaint(Data(source="npz", path=path)) == (
        f"there is no file {path}; data.path names a .npz with train_x, train_y, test_x, test_y"
    )


GOOD = """\
def samples(count=12, offset=0.0):
    x = np.arange(count * 2.0).reshape(count, 2) + offset
    return {"train": (x, np.arange(count) % 2), "test": (x, np.arange(count) % 2), "classes": ["no", "yes"]}
"""


def test_a_users_function(tmp_path):
    source = write_function(tmp_path, GOOD)
    data = load_data(Data(source=source, args={"offset": 3.0}))
    assert (data.name, data.classes, data.input_shape) == ("mine.py", ("no", "yes"), (2,))
    assert torch.equal(data.test.raw, torch.arange(24.0).view(12, 2) + 3)
    assert load_data(Data(source=source)).fingerprint != data.fingerprint


def test_a_users_function_may_leave_classes_out(tmp_path):
    source = write_function(tmp_path, GOOD.replace('["no", "yes"]', "None"))
    assert load_data(Data(source=source)).classes == ("0", "1")


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ("[]", "it gave a list"),
        ("None", "it gave a NoneType"),
        ("{'train': ([[0.0]], [0])}", "it gave a dict"),
        ("{'train': None, 'test': ([[0.0]], [0])}", "it gave a dict"),
        ("{'train': ([[0.0]],), 'test': ([[0.0]], [0])}", "it gave a dict"),
        ("{'train': ([[0.0]], [0]), 'test': ([[0.0]], [0]), 'classes': 2}", "it gave a dict"),
        ("{'train': ([[0.0], [1.0, 2.0]], [0, 1]), 'test': ([[0.0]], [0])}", "is no array of numbers"),
        ("{'train': (object(), [0, 1]), 'test': ([[0.0]], [0])}", "is no array of numbers"),
        ("1 / 0", "fails with args {}: ZeroDivisionError: division by zero"),
    ],
)
def test_what_a_users_function_must_return(tmp_path, returned, says):
    source = write_function(tmp_path, f"def samples():\n    return {returned}")
    message = complaint(Data(source=source))
    assert message.startswith(source)
    assert says in message


def test_a_users_function_that_takes_no_such_argument(tmp_path):
    source = write_function(tmp_path, GOOD)
    assert complaint(Data(source=source, args={"ofset": 1})) == (
        f"{source} takes no argument 'ofset' (did you mean 'offset'?); args: count, offset"
    )
