import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgekd.data import InMemory, Streamed, in_order, load_data
from edgekd.data.folder import _scan
from edgekd.errors import DataError
from edgekd.folders import IMAGES
from edgekd.recipe import Data

COUNTS = {("train", "bolt"): 9, ("train", "nut"): 7, ("test", "bolt"): 3, ("test", "nut"): 2}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of small colour images in several formats."""
    random = np.random.default_rng(0)
    for (part, name), count in COUNTS.items():
        (tmp_path / part / name).mkdir(parents=True)
        for index in range(count):
            pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            ending = ("png", "bmp", "ppm")[index % 3]
            Image.fromarray(pixels).save(tmp_path / part / name / f"{index:02d}.{ending}")
    return tmp_path


def load(root: Path, **settings: object):
    return load_data(Data(source="folder", path=root, **settings))


def complaint(root: Path, **settings: object) -> str:
    with pytest.raises(DataError) as error:
        load(root, **settings)
    return str(error.value)


def everything(samples) -> tuple[torch.Tensor, torch.Tensor]:
    raw, labels = zip(*in_order(samples, 4), strict=True)
    return torch.cat(raw), torch.cat(labels)


def test_images_that_differ_need_a_word_on_what_they_become(root):
    Image.new("L", (8, 8)).save(root / "train" / "bolt" / "00.png")
    assert "some images are grey and some coloured: set data.grayscale to true or false" in complaint(root)
    assert load(root, grayscale=False).input_shape == (3, 8, 8)
    Image.new("RGB", (20, 10)).save(root / "train" / "bolt" / "00.png")
    assert "images of 20x10, 8x8 pixels: set data.image_size" in complaint(root)
    assert load(root, image_size=8).input_shape == (3, 8, 8)


def test_each_file_is_read_under_its_class(root):
    data = load(root)
    assert (data.classes, data.input_shape, data.name) == (("bolt", "nut"), (3, 8, 8), root.name)
    assert torch.bincount(torch.cat([data.train.labels, data.validation.labels])).tolist() == [9, 7]
    expected = [
        np.asarray(Image.open(path)).transpose(2, 0, 1)
        for name in ("bolt", "nut")
        for path in sorted((root / "test" / name).iterdir())
    ]
    assert np.array_equal(data.test.raw.numpy(), np.stack(expected))
    assert data.test.labels.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_is_what_is_in_memory(root, workers):
    memory, streamed = (load(root, in_memory=choice, workers=workers) for choice in (True, False))
    assert isinstance(memory.train, InMemory) and isinstance(streamed.train, Streamed)
    assert memory.preprocess == streamed.preprocess
    for part in ("train", "validation", "test"):
        for ours, theirs in zip(everything(getattr(memory, part)), everything(getattr(streamed, part)), strict=True):
            assert torch.equal(ours, theirs)
    order = [torch.tensor([3, 0]), torch.tensor([5])]
    pairs = zip(memory.train.stream(order), streamed.train.stream(order), strict=True)
    assert all(torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1]) for ours, theirs in pairs)


def test_fingerprints_follow_the_files(root):
    before = load(root, in_memory=False).fingerprint
    assert load(root, in_memory=False, workers=0).fingerprint == before
    for part in ("train", "test"):
        path = root / part / "nut" / "00.png"
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
        after = load(root, in_memory=False).fingerprint
        assert after != before
        before = after


def test_a_copied_test_set_keeps_its_fingerprint(root, tmp_path_factory):
    """Its bytes count, not its dates; the training files' dates are kept by the copy."""
    copy = tmp_path_factory.mktemp("copy") / root.name
    shutil.copytree(root, copy)
    os.utime(copy / "test" / "nut" / "00.png", (0, 0))
    assert load(copy, in_memory=False).fingerprint == load(root, in_memory=False).fingerprint


def test_grayscale_and_size(root):
    data = load(root, grayscale=True, image_size=4)
    assert data.input_shape == (1, 4, 4)
    with Image.open(root / "test" / "bolt" / "00.png") as image:
        expected = np.asarray(image.convert("L").resize((4, 4), Image.Resampling.BILINEAR))
    assert np.array_equal(data.test.raw[0, 0].numpy(), expected)


def test_grey_images_stay_grey(tmp_path):
    for part, name in COUNTS:
        (tmp_path / part / name).mkdir(parents=True)
        for index in range(2):
            Image.fromarray(np.full((8, 8), index, np.uint8)).save(tmp_path / part / name / f"{index}.png")
    assert load(tmp_path).input_shape == (1, 8, 8)
    assert load(tmp_path, grayscale=False).input_shape == (3, 8, 8)


def test_a_missing_folder_is_named(tmp_path):
    assert complaint(tmp_path / "none") == (
        f"there is no folder {tmp_path}/none/train: an image folder holds train/<class>/* and test/<class>/*"
    )


def test_a_folder_without_classes_is_named(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    assert complaint(tmp_path) == (
        f"{tmp_path}/train has no class folders: an image folder holds train/<class>/* and test/<class>/*"
    )


def test_an_empty_class_is_named(root):
    for path in (root / "train" / "nut").iterdir():
        path.rename(path.with_suffix(".txt"))
    assert complaint(root) == (
        f"{root}/train/nut holds no {IMAGES} (left out: 7 files that are no images (.txt)): add some, or remove the "
        "folder of that class"
    )


def test_classes_must_be_the_same(root):
    (root / "test" / "nut").rename(root / "test" / "nuts")
    assert complaint(root) == f"{root}: train and test do not have the same class folders; in one only: nut, nuts"


def test_one_class_is_not_enough(root):
    shutil.rmtree(root / "train" / "nut")
    shutil.rmtree(root / "test" / "nut")
    assert complaint(root) == f"{root} has one class only (bolt): there is nothing to tell apart; add another"


def test_a_class_of_one_image_is_not_enough(root):
    for path in sorted((root / "train" / "nut").iterdir())[1:]:
        path.unlink()
    assert complaint(root) == (f"{root}: class 'nut' has fewer than two training samples; add more, or drop the class")


def test_images_that_are_not_square_need_a_size(root):
    first = root / "train" / "bolt" / "00.png"
    Image.fromarray(np.zeros((6, 10, 3), np.uint8)).save(first)
    assert complaint(root) == (
        f"{root}: images of 10x6, 8x8 pixels: set data.image_size, the side all images are resized to"
    )
    assert load(root, image_size=8).input_shape == (3, 8, 8)


def test_an_unreadable_first_image_is_named(root):
    first = root / "train" / "bolt" / "00.png"
    first.write_bytes(b"not an image")
    message = complaint(root)
    assert message == (
        f"{first}: not a readable image (its content is none of JPEG, PNG, BMP, GIF, WEBP, PPM, TIFF); replace the "
        "file or remove it from the data"
    )


@pytest.mark.parametrize(("in_memory", "workers"), [(True, 2), (False, 0), (False, 2)])
def test_a_corrupt_image_is_named_on_one_line(root, in_memory, workers):
    bad = root / "train" / "nut" / "03.png"
    bad.write_bytes(bad.read_bytes()[:60])
    message = complaint(root, in_memory=in_memory, workers=workers)
    assert message.startswith(f"{bad}: not a readable image (")
    assert message.endswith("; replace the file or remove it from the data")
    assert "\n" not in message


@pytest.mark.slow
def test_an_index_of_200_000_images_is_small(tmp_path):
    """Names as long as ImageNet's, hard links to a few files because an inode takes 65,000 at most."""
    folder = tmp_path / "train" / "n01440764"
    folder.mkdir(parents=True)
    for start in range(0, 200_000, 50_000):
        first = folder / f"n01440764_{start:08d}.JPEG"
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(first, "JPEG")
        for index in range(start + 1, start + 50_000):
            os.link(first, folder / f"n01440764_{index:08d}.JPEG")
    names, labels = _scan(tmp_path / "train", ("n01440764",))
    assert len(names) == len(labels) == 200_000
    assert names.nbytes < 30e6
    assert names.dtype.kind == "S"


def test_class_folders_are_read_to_their_ends(root, capsys):
    before = load(root)
    assert capsys.readouterr().err == ""
    deeper = root / "train" / "bolt" / "2024" / "may"
    deeper.mkdir(parents=True)
    for index, ending in enumerate(("jfif", "GIF", "jpe", "webp")):
        pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(deeper / f"a.{ending}", {"jfif": "JPEG", "jpe": "JPEG"}.get(ending))
    (root / "train" / "nut" / "empty.png").touch()
    (root / "train" / "nut" / "a.heic").write_text("x")
    (root / "train" / "stray.png").write_text("x")
    (root / "test" / "._00.png").write_text("x")
    (root / "val").mkdir()
    data = load(root, validation=0.1)
    assert len(data.train) + len(data.validation) == 20
    assert int((data.train.labels == 0).sum() + (data.validation.labels == 0).sum()) == 13
    assert len(data.test) == len(before.test) and data.fingerprint != before.fingerprint
    assert capsys.readouterr().err.splitlines() == [
        f"{root}: left out: val; validation samples are held out of train",
        f"{root}/train: left out: 1 file that is no images (.heic), 1 empty file, 1 image outside of the class folders",
    ]


def test_a_class_may_be_a_link_to_a_folder_elsewhere(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "photos"
    (root / "train" / "nut").rename(elsewhere)
    (root / "train" / "nut").symlink_to(elsewhere)
    (elsewhere / "loop").symlink_to(root)
    assert len(load(root).train) + len(load(root).validation) == 16


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (Image.new("RGB", (8, 9)), "has 8x9 pixels, others 8x8: set data.image_size"),
        (Image.new("L", (8, 8)), "is grey, others are not: set data.grayscale to true or false"),
        (Image.new("LA", (8, 8)), "is grey, others are not"),
        (Image.new("RGB", (16, 4)), "has 16x4 pixels"),
    ],
    ids=["size", "grey", "grey with alpha", "as many pixels"],
)
def test_no_image_is_changed_unless_the_recipe_says_so(root, monkeypatch, in_memory, odd, says):
    """Also beyond those that are looked at first."""
    monkeypatch.setattr("edgekd.data.folder.LOOKED_AT", 1)
    odd.save(root / "train" / "bolt" / "04.png")
    message = complaint(root, in_memory=in_memory, workers=0)
    assert message.startswith(f"{root}/train/bolt/04.png: ") and says in message
    assert load(root, image_size=8, grayscale=False, in_memory=in_memory, workers=0).input_shape == (3, 8, 8)


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_are_set_upright(root, in_memory):
    exif = Image.Exif()
    exif[0x0112] = 8
    path = root / "test" / "bolt" / "00.png"
    with Image.open(path) as image:
        stored = np.asarray(image)
    before = load(root, in_memory=in_memory).fingerprint
    Image.fromarray(stored).save(path, exif=exif)
    data = load(root, in_memory=in_memory)
    assert np.array_equal(everything(data.test)[0][0].numpy(), np.rot90(stored).transpose(2, 0, 1))
    assert data.fingerprint != before
    assert data.preprocess.to_json()["orientation"] == "exif"


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "nut\u2028", "\udcff"])
def test_class_names_that_a_bundle_refuses_are_refused(root, name):
    for part in ("train", "test"):
        (root / part / "nut").rename(root / part / name)
    assert "is not one line of printable text; rename the class" in complaint(root)


def test_class_names_that_look_the_same_are_refused(root):
    for part in ("train", "test"):
        (root / part / "nut").rename(root / part / "caf\u00e9")
        (root / part / "bolt").rename(root / part / "cafe\u0301")
    assert "two classes are called 'caf\u00e9'; rename one of them" in complaint(root)


@pytest.mark.parametrize("in_memory", [True, False])
def test_an_image_at_its_own_size_is_of_the_networks_colours(root, in_memory):
    first = root / "test" / "bolt" / "00.png"
    Image.open(first).resize((30, 20)).save(first)
    test = load(root, image_size=6, grayscale=True, in_memory=in_memory, workers=0).test.select(torch.tensor([2, 0]))
    assert np.array_equal(test.original(1), np.asarray(Image.open(first).convert("L"))[None])
    assert test.original(0).shape == (1, 8, 8)
