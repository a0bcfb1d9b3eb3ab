"""Data and networks that several rooms test with; made once, and never changed by a test."""

import os

# A worker is one thread: two OpenMP threads each on two cores would wait for each other ten times as long.
os.environ["OMP_NUM_THREADS"] = "1"

import gc
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest_plugins = ["tests.limits"]

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from edgekd.data import DataSet
    from tests.power_cut import Disk


# Imports make hundreds of thousands of objects and no garbage.
gc.disable()


def pytest_collection_finish() -> None:
    """Keeps what was imported out of the garbage collector, and lets it run a seventh as often."""
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)
    gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out files without the mark where only what is timed is asked for: to import all takes ten seconds."""
    if not config.option.markexpr.startswith("timing") or not collection_path.name.startswith("test_"):
        return None
    return "mark.timing" not in collection_path.read_text() or None


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip(f"PyTorch {torch.__version__} finds no GPU here")


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests on a busy machine found it to reach is not kept for its user."""
    from edgekd.bench.profile import cache

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        # Beside other workers no roofs would be kept, and each run would spend ten seconds on them again.
        patch.setattr(cache, "BUSY_SHARE", 1.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def machine_lock_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Workers neither wait for each other nor for what else is done on the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKD_MACHINE_LOCK", str(tmp_path_factory.mktemp("machine-lock")))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_pause_between_attempts() -> Iterator[None]:
    """A host that refuses to connect is asked again at once."""
    from edgekd.devices import connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "PAUSE_S", 0.05)
        yield


@pytest.fixture(autouse=True)
def logs_on_standard_error() -> None:
    """What is logged can be read as the command prints it."""
    from edgekd.log import show_logs

    show_logs()


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
    from edgekd.train import CrossEntropy, FitOptions, fit

    torch.manual_seed(0)
    network = build("small_cnn", digits.input_shape, 10, width=8)
    fit(network, digits, Train(epochs=4, lr=0.1), CrossEntropy(), FitOptions(float32=True))
    return network


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of the toy recipe, timed by a test double; copy it before changing it."""
    from tests.toy import blank_pictures, fixed_times, made_once, write_recipe

    def make(folder: Path) -> None:
        from edgekd.pipeline.run import run
        from edgekd.recipe import load_recipe

        with pytest.MonkeyPatch.context() as patch:
            fixed_times(patch)
            blank_pictures(patch)
            run(load_recipe(write_recipe(folder)), folder / "run", command="edgekd run toy.yaml")

    return made_once(tmp_path_factory, "toy", make) / "run"


@pytest.fixture
def toy_again(toy_run: Path, tmp_path: Path) -> Path:
    """A copy of ``toy_run`` to go on from: what a changed recipe leaves as it was is found, not made again."""
    return Path(shutil.copytree(toy_run, tmp_path / "toy"))


@pytest.fixture(scope="session")
def toy_samples() -> tuple["np.ndarray", "np.ndarray"]:
    """The test samples of ``toy_run``, as the data set has them: uint8 (N, 1, 8, 8), and their labels (N,)."""
    import torch

    from edgekd.data import load_data
    from edgekd.recipe import Data

    test = load_data(Data(source="digits", train_limit=400, test_limit=100, batch_size=50)).test
    ((images, labels),) = test.stream([torch.arange(len(test))])
    return images.numpy(), labels.numpy()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.fixture
def disk_to_cut(tmp_path: Path) -> Iterator["Disk"]:
    """A file system that forgets what was not flushed to it."""
    from tests.power_cut import mounted

    with mounted(tmp_path) as disk:
        yield disk


@pytest.fixture
def run_folder(tmp_path: Path):
    """Writes runs with made-up figures, for the gate."""
    from tests.gate.runs import writer

    return writer(tmp_path)
