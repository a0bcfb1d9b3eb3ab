from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from edgekd.data import DataSet, InMemory, Streamed, in_order, load_data
from edgekd.data.samples import Joined
from edgekd.errors import DataError
from edgekd.folders import IMAGES
from edgekd.models import build
from edgekd.recipe import Data, Train
from edgekd.train import CrossEntropy, FitOptions, fit
from edgekd.train.batches import batches

COUNT = 11


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Grey images of 8x8 pixels, some of them deeper, with what must be left out beside them."""
    random = np.random.default_rng(0)
    root = tmp_path / "pictures"
    (root / "more" / "deep").mkdir(parents=True)
    (root / ".hidden").mkdir()
    for index in range(COUNT):
        place = (root, root / "more", root / "more" / "deep")[index % 3]
        Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(place / f"{index:02d}.png")
    Image.new("L", (8, 8)).save(root / ".hidden" / "0.png")
    Image.new("L", (8, 8)).save(root / ".0.png")
    (root / "notes.txt").write_text("not an image")
    return root


def load(pictures: Path | None, **settings: Any) -> DataSet:
    given = {"source": "digits", "batch_size": 20, "train_limit": 100, "unlabelled": pictures}
    return load_data(Data(**{**given, **settings}))


def complaint(pictures: Path, **settings: Any) -> str:
    with pytest.raises(DataError) as error:
        load(pictures, **settings)
    return str(error.value)


def everything(samples: Any) -> tuple[Tensor, Tensor]:
    raw, labels = zip(*in_order(samples, 7), strict=True)
    return torch.cat(raw), torch.cat(labels)


@pytest.mark.parametrize(("in_memory", "kind"), [(True, InMemory), (False, Streamed)])
def test_they_follow_the_labelled_ones(pictures, in_memory, kind):
    data, labelled = load(pictures, in_memory=in_memory, workers=0), load(None)
    raw, labels = everything(data.train)
    paths = [*sorted(pictures.glob("*.png"))[1:], *sorted(pictures.glob("more/*.png"))]
    paths += sorted(pictures.glob("more/deep/*.png"))
    expected = np.stack([np.asarray(Image.open(path))[None] for path in paths])
    assert len(paths) == COUNT
    assert np.array_equal(raw[-COUNT:].numpy(), expected)
    assert torch.equal(raw[:-COUNT], labelled.train.raw)
    assert torch.equal(labels, data.train.labels)
    assert labels.tolist() == [*labelled.train.labels.tolist(), *[-1] * COUNT]
    assert isinstance(data.train.second, kind)


def test_what_is_chosen_and_judged_by_has_labels(pictures):
    data, labelled = load(pictures), load(None)
    assert torch.equal(data.validation.raw, labelled.validation.raw)
    assert torch.equal(data.test.labels, labelled.test.labels)
    assert data.preprocess == labelled.preprocess, "the scale is the labelled samples'"


def test_labelled_only_is_as_if_there_were_none(pictures):
    data, labelled = load(pictures, unlabelled_share=0.5), load(None)
    only = data.labelled_only()
    assert only.fingerprint == labelled.fingerprint
    assert torch.equal(only.train.raw, labelled.train.raw)
    assert only.unlabelled_share is None
    assert labelled.labelled_only() is labelled


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_fingerprint_follows_them(pictures, in_memory):
    first, again = (load(pictures, in_memory=in_memory).fingerprint for _ in range(2))
    assert first == again
    Image.fromarray(np.full((8, 8), 7, np.uint8)).save(pictures / "00.png")
    other = load(pictures, in_memory=in_memory).fingerprint
    shared = load(pictures, in_memory=in_memory, unlabelled_share=0.5).fingerprint
    assert len({first, other, shared, load(None).fingerprint}) == 4


def test_joined_gives_each_sample_its_place():
    first = InMemory(torch.arange(5).view(5, 1), torch.arange(5) % 2)
    second = InMemory(10 + torch.arange(4).view(4, 1), torch.full((4,), -1))
    joined = Joined(first, second)
    asked = [torch.tensor([8, 0, 5, 4]), torch.tensor([1, 2]), torch.tensor([7])]
    answers = list(joined.stream(asked))
    assert [raw.flatten().tolist() for raw, _ in answers] == [[13, 0, 10, 4], [1, 2], [12]]
    assert [labels.tolist() for _, labels in answers] == [[-1, 0, -1, 0], [1, 0], [-1]]
    chosen = joined.select(torch.tensor([6, 3, 0]))
    assert everything(chosen)[0].flatten().tolist() == [11, 3, 0]
    assert everything(chosen.select(torch.tensor([2, 0])))[0].flatten().tolist() == [0, 11]
    assert len({joined.digest(), chosen.digest(), joined.select(torch.tensor([3, 6, 0])).digest()}) == 3
    assert joined.select(torch.tensor([3, 0])).digest() == first.select(torch.tensor([3, 0])).digest()


def labels_of(data: DataSet, epoch: int = 0, seed: int = 0) -> list[Tensor]:
    return [data.train.labels[batch] for batch in batches(data, seed, epoch)]


@pytest.mark.parametrize(("share", "without"), [(0.5, 10), (0.01, 1), (0.99, 19), (0.33, 7)])
def test_each_batch_has_the_same_share(pictures, share, without):
    data = load(pictures, unlabelled_share=share)
    found = labels_of(data)
    assert {(len(labels), int((labels < 0).sum())) for labels in found} == {(20, without)}
    assert all((labels[: 20 - without] >= 0).all() for labels in found)


def test_an_epoch_passes_once_over_what_lasts_longer(pictures):
    """90 labelled in batches of 15 are 6 batches; 11 unlabelled are gone through again and again."""
    data = load(pictures, unlabelled_share=0.25)
    found = batches(data, 0, 0)
    seen = torch.bincount(torch.cat(found), minlength=len(data.train))
    assert len(found) == 6 and seen[:90].tolist() == [1] * 90
    assert sorted(seen[90:].tolist()) == [2] * 3 + [3] * 8
    few = load(pictures, unlabelled_share=0.25, train_limit=30, batch_size=4)
    assert len(batches(few, 0, 0)) == 11, "11 unlabelled, one by one, beside 20 labelled in threes"
    other = torch.bincount(torch.cat(batches(few, 0, 0)), minlength=len(few.train))
    assert other[20:].tolist() == [1] * 11 and set(other[:20].tolist()) == {1, 2}


def test_the_order_follows_seed_and_epoch(pictures):
    data = load(pictures, unlabelled_share=0.5)
    first, again, second, other = (torch.cat(batches(data, s, e)) for s, e in ((0, 0), (0, 0), (0, 1), (1, 0)))
    assert torch.equal(first, again)
    assert not torch.equal(first, second) and not torch.equal(first, other)


def test_left_out_all_are_mixed(pictures):
    data = load(pictures)
    order = torch.cat(batches(data, 0, 0))
    assert len(order) == len(order.unique()) == 100
    assert 0 < int((data.train.labels[order] < 0).sum()) <= COUNT


def test_a_share_of_nothing_is_refused(digits):
    with pytest.raises(DataError) as error:
        batches(replace(digits, unlabelled_share=0.5), 0, 0)
    assert str(error.value) == (
        "digits has no training samples without a label, and unlabelled_share is 0.5: leave it out, or give "
        "data.unlabelled"
    )


@pytest.mark.parametrize("share", [None, 0.5])
def test_a_network_is_trained_on_both(pictures, share):
    data = load(pictures, unlabelled_share=share, augment=("crop", "flip"))
    torch.manual_seed(0)
    network: nn.Module = build("small_cnn", (1, 8, 8), 10, width=4)
    history = fit(network, data, Train(epochs=2, lr=0.05), CrossEntropy(), FitOptions(float32=True))
    assert len(history) == 2 and all(np.isfinite(entry.loss) for entry in history)


def test_what_is_not_there(pictures, tmp_path):
    none = tmp_path / "none"
    assert complaint(none) == f"there is no folder {none}: data.unlabelled names a folder of images without labels"
    none.mkdir()
    assert complaint(none) == (f"{none} holds no {IMAGES}: add some, or leave data.unlabelled out")
    assert complaint(pictures, source="breast_cancer") == (
        f"data.unlabelled: {pictures} is for images, breast_cancer gives vectors; leave it out"
    )


def test_images_of_another_kind_need_a_word(pictures):
    Image.new("L", (12, 10)).save(pictures / "00.png")
    assert complaint(pictures) == (
        f"{pictures}: images of 12x10 pixels, the labelled ones are 8x8: set data.image_size, the side all images are "
        "resized to"
    )
    assert load(pictures, image_size=8).input_shape == (1, 8, 8)
    Image.new("RGB", (8, 8)).save(pictures / "00.png")
    assert complaint(pictures) == (
        f"{pictures}: some images are coloured, the labelled ones are grey: set data.grayscale to true or false"
    )
    assert load(pictures, grayscale=False).input_shape == (3, 8, 8)


def test_a_damaged_one_is_named(pictures):
    (pictures / "more" / "01.png").write_bytes(b"not an image")
    assert str(pictures / "more" / "01.png") in complaint(pictures)
