"""A class for each pixel through training, distillation, a file, a bundle and the command that predicts with it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from edgekd.bundle.pack import pack
from edgekd.cli.predict import predict
from edgekd.data import DataSet, InMemory
from edgekd.distill import Distillation
from edgekd.distill.build import LossSpec, build_terms
from edgekd.errors import EdgekdError, TrainingError
from edgekd.export import export_onnx, parity, runtime_logits
from edgekd.models import build
from edgekd.preprocess import Preprocess
from edgekd.tasks.segmentation import Segmentation
from edgekd.train import FitOptions, Train, fit, logits_of, metric_of
from edgekd.train.objective import TaskLoss

SHAPE = (3, 8, 8)
NAMES = ("paper", "ink")


def drawn(n: int, seed: int) -> InMemory:
    """Dark images with a light square, whose masks hide a row."""
    random = np.random.default_rng(seed)
    images, masks = random.integers(0, 100, (n, *SHAPE)).astype(np.uint8), np.zeros((n, 8, 8), np.uint8)
    for image, mask in zip(images, masks, strict=True):
        top, left = random.integers(0, 5, 2)
        image[:, top : top + 4, left : left + 4] += 120
        mask[top : top + 4, left : left + 4] = 1
        mask[random.integers(8)] = 255
    return InMemory(torch.from_numpy(images), torch.from_numpy(masks))


@pytest.fixture(scope="module")
def data() -> DataSet:
    scale = Preprocess("image", SHAPE, (0.3,) * 3, (0.2,) * 3)
    parts = (drawn(n, seed) for seed, n in enumerate((160, 40, 40)))
    return DataSet("squares", NAMES, scale, *parts, batch_size=20, augment=("flip",), kind=Segmentation)


@pytest.fixture(scope="module")
def teacher(data) -> nn.Module:
    torch.manual_seed(0)
    network = build("unet", SHAPE, 2, width=8, depth=1)
    fit(network, data, Train(epochs=4, lr=0.1), TaskLoss(data.task), FitOptions(float32=True))
    return network.eval()


@pytest.fixture(scope="module")
def file(data, teacher, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_onnx(teacher, path, data.preprocess, NAMES)
    return path


def test_it_learns_and_its_file_gives_the_same_masks(data, teacher, file):
    assert metric_of(teacher, data, data.test) > 0.9
    ours, theirs = logits_of(teacher, data, data.test), runtime_logits(file, data.inputs(data.test))
    assert parity(ours, theirs, data.task).agreement == 1


def test_a_student_learns_from_logits_and_from_channels(data, teacher):
    student = build("unet", SHAPE, 2, width=4, depth=1)
    wanted = [LossSpec("kd"), LossSpec("cwd", pairs=(("head", "head"),)), LossSpec("cwd")]
    terms = build_terms(wanted, student, teacher, SHAPE, task=data.task)
    fit(student, data, Train(epochs=4, lr=0.1), Distillation(teacher, terms, task=data.task), FitOptions(float32=True))
    assert metric_of(student.eval(), data, data.test) > 0.6
    with pytest.raises(TrainingError, match="dkd compares classes, and this network gives masks: use kd, or a loss"):
        build_terms([LossSpec("dkd")], student, teacher, SHAPE, task=data.task)


@pytest.fixture(scope="module")
def bundle(data, teacher, file, tmp_path_factory) -> Path:
    golden = next(iter(data.inputs(data.test)))[:4]
    with torch.no_grad():
        outputs = teacher(golden).numpy()
    return pack(
        tmp_path_factory.mktemp("packed") / "bundle",
        name="squares",
        models={"float32": file},
        task=data.task,
        preprocess=data.preprocess,
        golden=(golden.numpy(), outputs),
    )


def test_a_bundle_predicts_masks_in_the_size_of_their_images(data, bundle, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    picture = data.test.raw[0].numpy().transpose(1, 2, 0).repeat(2, 0).repeat(2, 1)
    Image.fromarray(picture).save(tmp_path / "photos" / "one.png")
    assert predict(bundle, [tmp_path / "photos"], out=tmp_path / "masks", pictures=tmp_path / "shown") == 0
    assert "one.png: paper " in capsys.readouterr().out
    mask = np.asarray(Image.open(tmp_path / "masks" / "one.mask.png"))
    expected = data.test.labels[0].numpy().repeat(2, 0).repeat(2, 1)
    assert mask.shape == (16, 16) and (mask == expected)[expected != 255].mean() > 0.9
    shown = Image.open(tmp_path / "shown" / "one.predicted.jpg")
    assert shown.size == (16, 16) and shown.mode == "RGB"


def written(folder: Path, names: list[str], data: DataSet) -> Path:
    """Write the first test images under ``names`` below ``folder``."""
    for name, image in zip(names, data.test.raw.numpy(), strict=False):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / name)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_predictions_lie_in_the_folders_of_their_images(data, bundle, tmp_path, capsys):
    photos = written(tmp_path / "photos", ["one.png", "a/one.png", "a/b/one.png"], data)
    assert predict(bundle, [photos], out=tmp_path / "masks", pictures=tmp_path / "shown", as_csv=True) == 0
    assert [row.split(",")[0] for row in capsys.readouterr().out.splitlines()[1:]] == [
        str(photos / name) for name in ("one.png", "a/one.png", "a/b/one.png")
    ]
    found = files(tmp_path / "masks")
    assert {*found} == {"one.mask.png", "a/one.mask.png", "a/b/one.mask.png"}
    assert {*files(tmp_path / "shown")} == {"one.predicted.jpg", "a/one.predicted.jpg", "a/b/one.predicted.jpg"}
    for name in found:  # as of each image alone, whose name alone is then kept
        assert predict(bundle, [photos / name.replace(".mask", "")], out=tmp_path / "alone") == 0
        assert files(tmp_path / "alone") == {"one.mask.png": found[name]}
    assert len({*found.values()}) == 3
    said = capsys.readouterr().err
    assert said.count(f"{tmp_path / 'alone'}: a file of before was replaced: one.mask.png") == 2
    assert predict(bundle, [photos], out=tmp_path / "masks") == 0
    assert "replaced" not in capsys.readouterr().err


@pytest.mark.parametrize("option", ["out", "pictures"])
def test_no_prediction_replaces_another_or_an_image(option, data, bundle, tmp_path):
    photos = written(tmp_path / "photos", ["a/one.png", "a/one.jpg", "b/a/one.png"], data)
    target = {option: tmp_path / "written"}
    said = rf"photos/a/one.jpg and .*photos/a/one.png would both be .*written/a/one: rename .* its own --{option}"
    with pytest.raises(EdgekdError, match=said):
        predict(bundle, [photos], **target)
    with pytest.raises(EdgekdError, match="photos/b/a/one.png would both be .*written/a/one: rename one"):
        (photos / "a/one.jpg").unlink()
        predict(bundle, [photos, photos / "b"], **target)
    assert not (tmp_path / "written").exists()
    # One image that is named twice has one prediction.
    assert predict(bundle, [photos / "a", photos / "a/one.png"], **target) == 0
    [made] = files(tmp_path / "written")
    before = (photos / "a/one.png").read_bytes()
    (photos / "a/one.png").rename(photos / "a" / made)
    written(photos, ["a/one.png"], data)
    with pytest.raises(EdgekdError, match=f"a/one.png would replace {photos / 'a' / made}: give another folder"):
        predict(bundle, [photos / "a"], **{option: photos / "a"})
    assert (photos / "a" / made).read_bytes() == before
