from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgekd.data import InMemory, load_data
from edgekd.errors import DataError
from edgekd.files import sha256_file
from edgekd.recipe import Data
from edgekd.tasks.classification import Classification
from edgekd.tasks.segmentation import Segmentation


def rows(samples: InMemory) -> set[bytes]:
    return {bytes(row.numpy()) for row in samples.raw.flatten(1)}


def test_validation_is_stratified_and_apart(digits):
    share = {c: int((digits.validation.labels == c).sum()) for c in range(10)}
    whole = torch.cat([digits.train.labels, digits.validation.labels])
    for label, count in share.items():
        assert abs(count - 0.1 * int((whole == label).sum())) < 1
    assert len(digits.validation) == round(0.1 * len(whole))
    assert not rows(digits.validation) & rows(digits.train)
    assert not rows(digits.test) & (rows(digits.train) | rows(digits.validation))


@pytest.mark.parametrize("limit", [100, 123, 1000])
def test_a_limit_is_kept_to_the_sample(limit):
    data = load_data(Data(source="digits", train_limit=limit, test_limit=limit // 2))
    assert len(data.train) + len(data.validation) == limit
    assert len(data.test) == min(limit // 2, 360)


def test_the_seed_moves_the_validation_split_and_not_the_test_set():
    first, same, other = (load_data(Data(source="digits"), seed) for seed in (3, 3, 4))
    assert first.fingerprint == same.fingerprint != other.fingerprint
    assert torch.equal(first.validation.raw, same.validation.raw)
    assert not torch.equal(first.validation.raw, other.validation.raw)
    assert torch.equal(first.test.raw, other.test.raw)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_one_pixel_or_label_makes_another_fingerprint(digits, part):
    samples = getattr(digits, part)
    pixel, label = samples.raw.clone(), samples.labels.clone()
    pixel[5, 0, 3, 3] ^= 1
    label[5] = (label[5] + 1) % 10
    changed = [
        replace(digits, **{part: InMemory(pixel, samples.labels)}),
        replace(digits, **{part: InMemory(samples.raw, label)}),
        replace(digits, classes=("zero", *digits.classes[1:])),
    ]
    assert len({digits.fingerprint, *(data.fingerprint for data in changed)}) == 4


class OwnTask(Classification):
    pass


def test_what_holds_predictions_follows_the_code_of_a_users_task(digits):
    own = replace(digits, kind=OwnTask)
    assert digits.task_code == () and own.task_code[0] == sha256_file(Path(__file__))
    assert digits.decoded_fingerprint == digits.fingerprint == own.fingerprint != own.decoded_fingerprint


def test_the_scale_is_the_training_samples_own(digits):
    pixels = digits.train.raw.numpy().astype(float) / 255
    assert digits.preprocess.mean[0] == pytest.approx(pixels.mean(), rel=1e-5)
    assert digits.preprocess.std[0] == pytest.approx(pixels.std(), rel=1e-5)


def test_vectors_are_scaled_feature_by_feature():
    data = load_data(Data(source="breast_cancer"))
    inputs = data.to_input(data.train.raw).numpy()
    np.testing.assert_allclose(inputs.mean(0), np.zeros(30), atol=1e-4)
    np.testing.assert_allclose(inputs.std(0), np.ones(30), atol=1e-4)


def test_a_constant_feature_is_left_in_its_own_units(tmp_path):
    x = np.zeros((20, 2), np.float32)
    x[:, 1] = np.arange(20)
    np.savez(tmp_path / "a.npz", train_x=x, train_y=np.arange(20) % 2, test_x=x, test_y=np.arange(20) % 2)
    data = load_data(Data(source="npz", path=tmp_path / "a.npz"))
    assert data.preprocess.std[0] == 1.0
    assert torch.isfinite(data.to_input(data.train.raw)).all()


@pytest.mark.parametrize("source", ["digits", "breast_cancer"])
def test_to_input_does_what_a_bundle_does(source):
    data = load_data(Data(source=source))
    ours = data.to_input(data.test.raw).numpy()
    theirs = data.preprocess.apply(data.test.raw.numpy())
    assert ours.dtype == theirs.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=2e-7, atol=1e-7)


def test_a_given_scale_is_used():
    data = load_data(Data(source="digits", grayscale=False, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)))
    assert (data.preprocess.mean, data.preprocess.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_a_scale_for_other_channels_is_refused():
    with pytest.raises(DataError) as error:
        load_data(Data(source="digits", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)))
    assert str(error.value) == "data.mean has 3 values, the input has 1 channels: give one for each"


def test_limits_keep_the_classes_even():
    data = load_data(Data(source="digits", train_limit=100, test_limit=50))
    assert len(data.train) + len(data.validation) == pytest.approx(100, abs=5)
    assert len(data.test) == pytest.approx(50, abs=5)
    assert torch.bincount(data.train.labels).min() >= 8


def test_a_limit_that_leaves_a_class_alone_is_refused():
    with pytest.raises(DataError) as error:
        load_data(Data(source="digits", train_limit=15))
    assert str(error.value) == "digits: class '0' has fewer than two training samples; raise data.train_limit"


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_set_of_one_image_is_refused_with_the_way_out(tmp_path, in_memory):
    """Hold out the one sample, so that none is left."""
    random = np.random.default_rng(0)
    for part, count in (("train", 1), ("test", 1)):
        for kind, largest in (("images", 255), ("masks", 2)):
            (tmp_path / part / kind).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, largest, (8, 8)).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / kind / f"{number}.png")
    (tmp_path / "classes.txt").write_text("sky\nroad\n")
    keys = Data(source="masks", path=tmp_path, in_memory=in_memory, workers=0)
    with pytest.raises(DataError, match="has one training sample, which validation takes: add some"):
        load_data(keys, kind=Segmentation)
    for kind in ("images", "masks"):
        pixels = (tmp_path / "train" / kind / "0.png").read_bytes()
        (tmp_path / "train" / kind / "1.png").write_bytes(pixels)
    data = load_data(keys, kind=Segmentation)
    assert [len(each) for each in (data.train, data.validation, data.test)] == [1, 1, 1]


@pytest.mark.parametrize("part", ["validation", "test"])
def test_targets_by_which_nothing_can_be_measured_are_refused(tmp_path, part):
    x, masks = np.random.default_rng(0).integers(0, 255, (20, 8, 8), np.uint8), np.zeros((20, 8, 8), np.uint8)
    masks[:, :4] = 1
    held_out = torch.randperm(20, generator=torch.Generator().manual_seed(0))[:2]
    wrong = {"validation": ("train_y", held_out.tolist()), "test": ("test_y", slice(None))}[part]
    arrays = {"train_x": x, "train_y": masks, "test_x": x, "test_y": masks.copy()}
    arrays[wrong[0]][wrong[1]] = 255
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=f"a.npz: of no {part} sample the target is known, so that nothing can be meas"):
        load_data(Data(source="npz", path=tmp_path / "a.npz"), kind=Segmentation)
