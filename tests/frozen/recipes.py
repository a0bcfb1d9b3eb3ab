"""Three recipes of seconds, over data that is made from whole numbers, so that every machine has the same."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.toy import RECIPE

HEAD = "seed: 0\nbudget: {accuracy_drop: 100}\n"
QUANTIZE = "  - quantize: {epochs: 1, rungs: [qat], placement: int8}\n"
VECTORS = f"""\
name: vectors
{HEAD}data: {{source: npz, path: vectors.npz, batch_size: 32}}
teacher: {{model: mlp, args: {{hidden: [32, 32]}}, train: {{epochs: 8, lr: 0.1}}}}
student: {{model: mlp, args: {{hidden: [16, 16]}}}}
stages:
  - distill: {{epochs: 8, lr: 0.1}}
  - prune: {{macs: 0.6, check_latency: false, epochs: 4, lr: 0.1}}
{QUANTIZE}"""
FOLDER = f"""\
name: folder
{HEAD}data: {{source: folder, path: images, image_size: 12, batch_size: 16, augment: [crop, flip]}}
teacher: {{model: resnet8, args: {{width: 8}}, train: {{epochs: 4, lr: 0.1}}}}
student: {{model: small_cnn, args: {{width: 4}}}}
stages:
  - distill: {{epochs: 4, lr: 0.1}}
{QUANTIZE}"""


def samples(count: int, size: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers of 0 to 255, (count, size), brighter in the part that belongs to their class, (count,)."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    values = random.integers(0, 128, (count, size))
    width = size // classes
    for row, label in zip(values, labels, strict=True):
        row[label * width : (label + 1) * width] += 100
    return values.astype(np.uint8), labels


def vectors(folder: Path) -> None:
    x_train, y_train = samples(192, 16, 4, seed=1)
    x_test, y_test = samples(64, 16, 4, seed=2)
    scaled = {"train_x": x_train.astype(np.float32) / 256, "test_x": x_test.astype(np.float32) / 256}
    np.savez(folder / "vectors.npz", **scaled, train_y=y_train, test_y=y_test)


def images(folder: Path) -> None:
    for split, count, seed in (("train", 96, 3), ("test", 48, 4)):
        for number, (values, label) in enumerate(zip(*samples(count, 12 * 12 * 3, 3, seed), strict=True)):
            path = folder / "images" / split / "abc"[label] / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.reshape(12, 12, 3)).save(path)


def nothing(folder: Path) -> None:
    """Scikit-learn brings the digits."""


RECIPES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "vectors": (VECTORS, vectors),
    "digits": (RECIPE, nothing),
    "folder": (FOLDER, images),
}


def write(name: str, folder: Path) -> Path:
    """Return the recipe's file in ``folder``, beside its data."""
    text, make_data = RECIPES[name]
    folder.mkdir(parents=True, exist_ok=True)
    make_data(folder)
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path
