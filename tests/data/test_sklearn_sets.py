import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits

from edgekd.data import load_data
from edgekd.errors import DataError
from edgekd.recipe import Data


def test_digits_are_all_there(digits):
    parts = (digits.train, digits.validation, digits.test)
    assert len(digits.train) + len(digits.validation) == 1437 and len(digits.test) == 360
    assert digits.input_shape == (1, 8, 8)
    assert digits.classes == tuple("0123456789")
    assert digits.name == "digits"
    for part in parts:
        assert part.raw.dtype == torch.uint8 and part.labels.dtype == torch.int64
        assert part.raw.shape[1:] == (1, 8, 8)


def test_digits_keep_their_pixels(digits):
    """Each of the 17 grey levels has a place of its own in 0..255, so the originals can be had back."""
    ours = torch.cat([part.raw for part in (digits.train, digits.validation, digits.test)]).numpy()
    back = np.rint(ours[:, 0].astype(float) / 255 * 16)
    theirs = load_digits().images
    assert sorted(map(bytes, back.reshape(1797, 64).astype(np.uint8))) == sorted(
        map(bytes, theirs.reshape(1797, 64).astype(np.uint8))
    )


def test_breast_cancer_is_all_there():
    data = load_data(Data(source="breast_cancer"))
    bunch = load_breast_cancer()
    assert len(data.train) + len(data.validation) == 455 and len(data.test) == 114
    assert data.input_shape == (30,)
    assert data.classes == ("malignant", "benign")
    together = torch.cat([data.train.raw, data.validation.raw, data.test.raw])
    assert together.dtype == torch.float32
    np.testing.assert_allclose(together.double().sum(0), bunch.data.sum(0), rtol=1e-6)


def test_vectors_cannot_be_augmented():
    with pytest.raises(DataError) as error:
        load_data(Data(source="breast_cancer", augment=("flip",)))
    assert str(error.value) == "data.augment: flip is for images, breast_cancer gives vectors"


def test_digits_take_another_size_and_colour():
    data = load_data(Data(source="digits", image_size=16, grayscale=False, train_limit=100))
    assert data.input_shape == (3, 16, 16)
    assert data.train.raw.shape[1:] == (3, 16, 16)
    assert torch.equal(data.train.raw[:, 0], data.train.raw[:, 2])
