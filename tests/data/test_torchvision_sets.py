import struct
import time
from pathlib import Path

import numpy as np
import pytest

from edgekd.data import load_data
from edgekd.errors import DataError
from edgekd.recipe import Data


def write_idx(path: Path, array: np.ndarray) -> None:
    """The format of the MNIST files: two zero bytes, 8 for unsigned bytes, the dimensions, the sizes, the data."""
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    for prefix, count in (("train", 40), ("t10k", 20)):
        write_idx(raw / f"{prefix}-images-idx3-ubyte", random.integers(0, 256, (count, 28, 28)))
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", np.arange(count) % 10)
    return tmp_path


def test_mnist_from_its_own_files(root):
    data = load_data(Data(source="mnist", path=root, download=False))
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 10, 20)
    assert data.input_shape == (1, 28, 28)
    assert data.classes[:2] == ("0 - zero", "1 - one")
    content = (root / "MNIST" / "raw" / "t10k-images-idx3-ubyte").read_bytes()[16:]
    assert data.test.raw.numpy().tobytes() == content
    assert data.test.labels.tolist() == [*range(10), *range(10)]


@pytest.mark.parametrize("kept", [0, 3, 10, 100])
def test_a_cut_file_is_called_damaged(root, kept):
    path = root / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=f"^mnist in {root} is damaged .*; remove it there"):
        load_data(Data(source="mnist", path=root, download=False))


def test_a_set_that_may_not_be_downloaded(tmp_path):
    with pytest.raises(DataError) as error:
        load_data(Data(source="cifar10", path=tmp_path, download=False))
    assert str(error.value) == (
        f"cifar10 is not in {tmp_path}; set data.path to the folder that holds it, or data.download: true"
    )


def test_a_set_that_cannot_be_downloaded(tmp_path, monkeypatch):
    """A proxy that refuses connections stands in for a machine without a network, here and on any machine."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    start = time.monotonic()
    with pytest.raises(DataError) as error:
        load_data(Data(source="cifar10", path=tmp_path))
    message = str(error.value)
    assert message.startswith(f"cifar10 is not in {tmp_path} and cannot be downloaded (")
    assert message.endswith("; connect to a network, or copy torchvision's files there from a machine that has them")
    assert "\n" not in message
    assert time.monotonic() - start < 20
