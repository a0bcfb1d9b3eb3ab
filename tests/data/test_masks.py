"""Folders of images and masks: what is read of them, and mistakes that are named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekd.data import load_data
from edgekd.data.options import Data
from edgekd.errors import DataError
from edgekd.tasks.classification import Classification
from edgekd.tasks.segmentation import Segmentation

COLOURS = np.array([[0, 0, 0], [250, 10, 10], [10, 10, 250]], np.uint8)


def folder(root: Path, coloured: bool = False, classes: str = "sky\nroad\ncar\n") -> Path:
    """20 training and 5 test images of 8x8 pixels, each grey, with its mask."""
    random = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 5)):
        for kind in ("images", "masks"):
            (root / part / kind).mkdir(parents=True)
        for number in range(count):
            mask = random.integers(0, 3, (8, 8)).astype(np.uint8)
            pixels = mask * 100 + random.integers(0, 20, (8, 8)).astype(np.uint8)
            Image.fromarray(pixels).save(root / part / "images" / f"{number:02}.png")
            picture = Image.fromarray(COLOURS[mask] if coloured else mask)
            picture.save(root / part / "masks" / f"{number:02}.png")
    (root / "classes.txt").write_text(classes)
    return root


def loaded(root: Path, **more):
    return load_data(Data(source="masks", path=root, **more), kind=Segmentation)


def test_indices_and_colours_give_the_same(tmp_path):
    indexed = loaded(folder(tmp_path / "a"))
    legend = "".join(f"{name} {r} {g} {b}\n" for name, (r, g, b) in zip(("sky", "road", "car"), COLOURS, strict=True))
    coloured = loaded(folder(tmp_path / "b", coloured=True, classes=legend))
    assert indexed.classes == coloured.classes == ("sky", "road", "car")
    assert (indexed.test.labels == coloured.test.labels).all()
    assert indexed.test.labels.shape == (5, 8, 8)


def test_masks_are_resized_with_their_images(tmp_path):
    data = loaded(folder(tmp_path), image_size=16, resize="letterbox")
    assert data.input_shape == (1, 16, 16)
    own = np.asarray(Image.open(tmp_path / "test" / "masks" / "00.png"))
    assert (data.test.labels[0].numpy()[::2, ::2] == own).all()


def test_an_ignored_colour(tmp_path):
    legend = "sky 0 0 0\nroad 250 10 10\nignored 10 10 250\n"
    data = loaded(folder(tmp_path, coloured=True, classes=legend))
    assert data.classes == ("sky", "road") and set(np.unique(data.test.labels)) == {0, 1, 255}


@pytest.mark.parametrize("kind", ["I;16", "LA"])
def test_indices_of_16_bits_or_with_transparency(kind, tmp_path):
    expected = loaded(folder(tmp_path)).test.labels
    for path in sorted((tmp_path / "test/masks").iterdir()):
        mask = np.asarray(Image.open(path))
        wide = mask.astype(np.uint16) if kind == "I;16" else np.stack([mask, np.full_like(mask, 9)], -1)
        Image.fromarray(wide).save(path)
        assert Image.open(path).mode == kind
    assert (loaded(tmp_path).test.labels == expected).all()


def test_colours_of_a_palette_count_whatever_their_order(tmp_path):
    """As tools write them that make files small; and a grey picture of two classes is 0 and 255."""
    legend = "".join(f"{name} {r} {g} {b}\n" for name, (r, g, b) in zip(("sky", "road", "car"), COLOURS, strict=True))
    expected = loaded(folder(tmp_path / "a", coloured=True, classes=legend)).test.labels
    for path in sorted((tmp_path / "a/test/masks").iterdir()):
        own = Image.open(path).quantize(3)
        own.save(path)
    assert (loaded(tmp_path / "a").test.labels == expected).all()
    root = folder(tmp_path / "b", classes="sky 255 255 255\nroad 0 0 0\n")
    for part in ("train", "test"):
        for path in (root / part / "masks").iterdir():
            mask = np.asarray(Image.open(path))
            Image.fromarray(np.where(mask == 0, 255, 0).astype(np.uint8)).save(path)
    assert (loaded(root).test.labels == (expected > 0)).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "train/masks/03.png").unlink(), "images/03.png has no mask .*masks/03.png: add it"),
        (lambda root: (root / "classes.txt").unlink(), "classes.txt"),
        (lambda root: (root / "classes.txt").write_text("sky\n\ncar\n"), "classes.txt:2: the line is empty"),
        (
            lambda root: (root / "classes.txt").write_text("sky\nroad\n"),
            r"masks/0\d.png: the class 2 at x \d, y \d, and classes.txt names the classes 0 to 1",
        ),
        (
            lambda root: (root / "classes.txt").write_text("sky\nignored\nroad\ncar\n"),
            "classes.txt:2: 'ignored' has no colour; give its red, green and blue, or leave it out: of indices 255",
        ),
        (
            lambda root: Image.new("L", (9, 8)).save(root / "test/masks/01.png"),
            "masks/01.png has 9x8 pixels and its image .*images/01.png 8x8",
        ),
        (
            lambda root: Image.new("RGB", (8, 8), (1, 2, 3)).save(root / "test/masks/01.png"),
            r"masks/01.png: the colour \(1, 2, 3\) at x 0, y 0 is in no line of classes.txt",
        ),
        (lambda root: (root / "test/masks/01.png").write_bytes(b"?"), "masks/01.png: not a readable image"),
        (
            lambda root: Image.fromarray(np.full((8, 8), 300, np.uint16)).save(root / "test/masks/01.png"),
            "masks/01.png: the class 300 at x 0, y 0, and classes.txt names the classes 0 to 2",
        ),
        (
            lambda root: Image.fromarray(np.zeros((8, 8), np.float32)).save(root / "test/masks/01.tif"),
            "masks/01.* and .*01.* are of one image: remove one",
        ),
        (
            lambda root: (
                (root / "test/masks/01.png").unlink(),
                Image.fromarray(np.zeros((8, 8), np.float32)).save(root / "test/masks/01.tif"),
            ),
            "masks/01.tif: its pixels are no whole numbers: save the mask with 8 bits",
        ),
        (
            lambda root: (
                (root / "test/masks/01.png").unlink(),
                Image.new("L", (8, 8)).save(root / "test/masks/01.jpg"),
            ),
            "masks/01.jpg: a JPEG changes the pixels of a mask: save it as PNG",
        ),
        (
            lambda root: [Image.new("L", (8, 8), 255).save(root / f"test/masks/0{n}.png") for n in range(5)],
            "test/masks: no pixel of any mask counts",
        ),
    ],
)
def test_mistakes_are_named(tmp_path, change, said):
    change(folder(tmp_path))
    with pytest.raises(DataError, match=said):
        loaded(tmp_path)


def test_another_task_is_refused(tmp_path):
    with pytest.raises(DataError, match="the task is classification: set task: segmentation"):
        load_data(Data(source="masks", path=folder(tmp_path)), kind=Classification)


@pytest.mark.parametrize("side", [4, 16])
@pytest.mark.parametrize("options", [{"augment": ["flip"]}, {"image_size": 16}])
def test_masks_of_another_size_than_their_images_are_not_moved(side, options, tmp_path):
    images, masks = np.zeros((20, 8, 8), np.uint8), np.tile(np.arange(side, dtype=np.uint8) % 2, (20, side, 1))
    path = tmp_path / "a.npz"
    np.savez(path, train_x=images, train_y=masks, test_x=images[:5], test_y=masks[:5])
    said = rf"a\.npz: masks are of {side}x{side} pixels, and their images of 8x8: give both in one size"
    with pytest.raises(DataError, match=said):
        load_data(Data(source="npz", path=path, **options), kind=Segmentation)


def test_indices_and_colours_in_one_folder_are_told_apart_or_refused(tmp_path):
    """Refuse a mask of zeros alone: black is a class by its colour and another one by its index."""
    root = folder(tmp_path, classes="sky 250 10 10\nroad 10 10 250\ncar 0 0 0\n")
    Image.new("L", (8, 8)).save(root / "train/masks/05.png")
    said = "masks/05.png would be read by the colours of classes.txt, and .*masks/00.png has others, so that it holds"
    with pytest.raises(DataError, match=said):
        loaded(root)
    (root / "classes.txt").write_text("car 0 0 0\nsky 250 10 10\nroad 10 10 250\n")  # both ways alike
    data = loaded(root)
    assert any((part.labels == 0).flatten(1).all(1).any() for part in (data.train, data.validation))
