from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edgekd.export import export_onnx
from edgekd.preprocess import Preprocess
from edgekd.prune.latency import LatencyTable, layers_of

SHAPE = (3, 28, 28)


class Small(nn.Module):
    """Every kind of layer of an image classifier, in some 15 million multiply-accumulates."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.wide = nn.Conv2d(32, 64, 3, 2, padding=1)
        self.residual = nn.Conv2d(64, 64, 3, padding=1)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.wide(torch.relu(self.depthwise(self.stem(x))))
        x = torch.relu(x + self.residual(x))
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="session")
def small() -> nn.Module:
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture(scope="session")
def small_file(small: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    preprocess = Preprocess("image", SHAPE, (0.5,) * 3, (0.5,) * 3)
    return export_onnx(small, tmp_path_factory.mktemp("small") / "small.onnx", preprocess)


@pytest.fixture(scope="session")
def measured(small: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LatencyTable]:
    """A user's cache, and the table in it with the layers of ``small``."""
    folder = tmp_path_factory.mktemp("latency-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        table = LatencyTable("float32")
        table.measure(layers_of(small, SHAPE).values())
    return folder, table


@pytest.fixture
def home(measured: tuple[Path, LatencyTable], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of edgekd in the cache that the table is in, which is this test's own cache too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(measured[0]))
    return measured[0] / "edgekd"


@pytest.fixture
def table(measured: tuple[Path, LatencyTable]) -> LatencyTable:
    return measured[1]
