from pathlib import Path

import numpy as np
import pytest
import torch

from edgekd.data import load_data
from edgekd.data.arrays import from_arrays
from edgekd.errors import DataError
from edgekd.recipe import Data
from edgekd.tasks.classification import Classification

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


@pytest.mark.parametrize("kind", ["i1", "u1", ">i2", "<u2", "u4", ">u4", "i8", "u8", "?"])
def test_labels_of_every_whole_type(tmp_path, kind):
    labels = (LABELS % 2).astype(kind)
    data = load_data(save(tmp_path, train_y=labels, test_y=labels[:4]))
    assert data.test.labels.dtype == torch.int64 and data.test.labels.tolist() == [0, 1, 0, 0]
    assert torch.bincount(torch.cat([data.train.labels, data.validation.labels])).tolist() == [8, 4]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (LABELS + 0.5, "without fractions or NaN"),
        (np.where(LABELS == 1, np.nan, LABELS), "without fractions or NaN"),
        (LABELS.astype(np.float32), "save them as integers"),
        (np.eye(3, dtype=np.int64)[LABELS], "of one-hot rows, argmax(1) gives it"),
        (LABELS[:, None], "take column 0"),
        (LABELS * 1j, "expected one whole number per sample"),
        (np.array("2024-05-09", "M8[D]") + LABELS, "is no array of numbers, but of datetime64[D]"),
        (LABELS + 2**40, "a label is 1099511627778: labels number the classes from 0, without gaps"),
        (LABELS.astype(np.uint64) + np.uint64(2**64 - 3), "a label is 18446744073709551615"),
        (LABELS + 2**30, "the largest label is 1073741826, and there are 12 training samples"),
        (LABELS * 6, "the largest label is 12, and there are 12 training samples"),
    ],
)
def test_labels_that_are_refused(tmp_path, labels, says):
    message = complaint(save(tmp_path, train_y=labels))
    assert f"{tmp_path}/set.npz: " in message and says in message


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"test_x": np.where(np.arange(20).reshape(4, 5) > 9, np.inf, 1.0)}, "test_x: row 2 (from 0, the first of 2) "),
        ({"train_x": VECTORS.astype(np.float64) * 1e39}, "no finite float32"),
        ({"train_x": np.arange(60, dtype=np.uint8).reshape(12, 5)}, "train_x is uint8, test_x float64"),
        ({"train_x": GREY, "test_x": GREY[:4, :5]}, "(12, 1, 8, 6), test samples (4, 1, 5, 6); they must be alike"),
        ({"train_x": GREY, "test_x": RGB[:4]}, "data.image_size and data.grayscale say what images become"),
        ({"train_x": GREY, "test_x": GREY[:4] / 255}, "test_x gives float64 samples"),
        ({"classes": np.zeros((3, 2))}, "expected one name for each class"),
        ({"classes": np.array([b"a", b"b", b"\xff"])}, "no text in UTF-8"),
        ({"classes": np.array(["a", "b", "a"])}, "two classes are called 'a'"),
        ({"classes": np.array(["a", "", "b"])}, "the class name '' is not one line of printable text"),
    ],
)
def test_arrays_that_are_refused(tmp_path, changes, says):
    assert says in complaint(save(tmp_path, **changes))


def test_images_of_two_sizes_take_the_recipes(tmp_path):
    given = save(tmp_path, train_x=GREY, test_x=RGB[:4, :5]).model_copy(update={"image_size": 4, "grayscale": False})
    assert load_data(given).test.raw.shape == (4, 3, 4, 4)


def test_class_names_may_be_bytes_or_numbers(tmp_path):
    assert load_data(save(tmp_path, classes=np.array([b"a", b"b", "é".encode()]))).classes == ("a", "b", "é")
    assert load_data(save(tmp_path, classes=np.array([7, 8, 9]))).classes == ("7", "8", "9")


def test_masked_values_are_not_read(tmp_path):
    body = GOOD.replace("+ offset", "+ offset\n    x = np.ma.masked_less(x, 3)")
    assert "train_x has masked values" in complaint(Data(source=write_function(tmp_path, body)))


def test_the_scale_of_images_is_of_pixels_in_0_to_1(tmp_path):
    scale = {"mean": (123.675,), "std": (58.395,)}
    images = save(tmp_path, train_x=GREY, test_x=GREY[:4])
    assert "123.675 is outside of 0..1" in complaint(images.model_copy(update=scale))


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


def test_targets_are_moved_when_images_are_resized():
    class Masks(Classification):
        """Stored as they are given, and moved along."""

        read_targets = classmethod(lambda cls, raw, count, where: raw)
        numbered = classmethod(lambda cls, stored, where: ("a",))
        must_be_named = lambda self, stored, where: None  # noqa: E731
        move_targets = classmethod(lambda cls, stored, geometry: geometry.resample(stored, outside=255))

    images = np.zeros((2, 4, 8), np.uint8)
    images[:, :, 4:] = 250
    data = Data(source="npz", path="a.npz", image_size=16, resize="letterbox")
    found = from_arrays("a", data, dict.fromkeys(("train", "test"), (images, images // 250)), kind=Masks)
    masks, pixels = found.train.labels.numpy(), found.train.raw.numpy()[:, 0]
    assert masks.shape == (2, 16, 16) and masks.dtype == np.uint8
    assert (masks[:, :4] == 255).all() and (masks[:, 12:] == 255).all()
    assert (masks[:, 4:12, :8] == 0).all() and (masks[:, 4:12, 8:] == 1).all()
    assert (pixels[:, 4:12, 12:] == 250).all() and (pixels[:, 0] == 114).all()


def test_images_are_kept_at_their_own_size_too(tmp_path):
    data = save(tmp_path, train_x=RGB, test_x=RGB[:4]).model_copy(update={"image_size": 5})
    assert np.array_equal(load_data(data).test.original(3), RGB[3].transpose(2, 0, 1))
    assert load_data(save(tmp_path)).test.original(0) is None
