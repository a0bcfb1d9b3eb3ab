"""Data and networks that several rooms test with; made once, and never changed by a test."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torch import nn

    from edgekd.data import DataSet


@pytest.fixture(scope="session")
def digits() -> "DataSet":
    from edgekd.data import load_data
    from edgekd.recipe import Data

    return load_data(Data(source="digits", batch_size=32))


@pytest.fixture(scope="session")
def few_digits() -> "DataSet":
    """Five batches of training digits, with every augmentation."""
    from edgekd.data import load_data
    from edgekd.recipe import Data

    data = Data(source="digits", batch_size=32, train_limit=200, test_limit=60, augment=("crop", "flip"))
    return load_data(data)


@pytest.fixture(scope="session")
def trained(digits: "DataSet") -> "nn.Module":
    """A small network that reads digits; copy it before changing it."""
    import torch

    from edgekd.models import build
    from edgekd.recipe import Train
    from edgekd.train import CrossEntropy, fit

    torch.manual_seed(0)
    network = build("small_cnn", digits.input_shape, 10, width=8)
    fit(network, digits, Train(epochs=4, lr=0.1), CrossEntropy(), float32=True)
    return network
