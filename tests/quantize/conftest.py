"""Tiny networks that have one pattern each, calibrated, converted and exported once for all tests."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.fx import GraphModule

from edgekd.export import export_onnx
from edgekd.models import build
from edgekd.preprocess import Preprocess
from edgekd.quantize import calibrate, convert, prepare

SHAPE = (3, 8, 8)


class Dense(nn.Module):
    """Two layers of a DenseNet: each reads all that came before."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.one = nn.Conv2d(8, 8, 3, padding=1)
        self.two = nn.Conv2d(16, 8, 3, padding=1)
        self.head = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.cat([x, torch.relu(self.one(x))], 1)
        x = torch.cat([x, torch.relu(self.two(x))], 1)
        return self.head(x.mean((2, 3)))


class Residual(nn.Module):
    """An identity branch and, without a ReLU after the sum, MobileNetV2's linear bottleneck."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.one, self.two, self.three = (nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(3))
        self.bn = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.bn(self.one(x)))
        x = x + self.two(x)
        return self.head(torch.relu(self.three(x)).mean((2, 3)))


def sequence(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "conv-relu": lambda: sequence(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
    ),
    "conv-relu6": lambda: sequence(
        nn.Conv2d(3, 8, 3), nn.ReLU6(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU6(), nn.Conv2d(8, 8, 1)
    ),
    "residual": Residual,
    "concat": Dense,
    "maxpool": lambda: sequence(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding="same"), nn.ReLU()
    ),
    "mlp": lambda: build("mlp", SHAPE, 4, hidden=(16, 16)),
    "dead channel": lambda: dead_channel(),
}


def dead_channel() -> nn.Module:
    """A filter of zeros, and a layer that ReLU silences altogether."""
    network = sequence(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())
    with torch.no_grad():
        network[0].weight[2] = 0
        network[0].bias[2] = 0
        network[2].bias.fill_(-100)
    return network


@dataclass(frozen=True)
class Quantised:
    """One network in all its forms, and the batch that it was calibrated on."""

    network: nn.Module
    graph: GraphModule
    converted: GraphModule
    path: Path
    inputs: Tensor

    @property
    def model(self) -> onnx.ModelProto:
        return onnx.load(self.path)

    @property
    def weights(self) -> dict[str, np.ndarray]:
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer}

    def runtime(self) -> np.ndarray:
        session = onnxruntime.InferenceSession(str(self.path), providers=["CPUExecutionProvider"])
        return session.run(None, {"input": self.inputs.numpy()})[0]


@pytest.fixture(scope="session")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Quantised]:
    made: dict[tuple[str, str], Quantised] = {}

    def make(name: str, profile: str = "onnxruntime-x86") -> Quantised:
        if (name, profile) not in made:
            torch.manual_seed(0)
            network = MAKERS[name]().eval()
            inputs = torch.randn(16, *SHAPE)
            graph = prepare(network, SHAPE, profile)
            calibrate(graph, [inputs])
            converted = convert(graph)
            path = tmp_path_factory.mktemp("quantised") / "model.onnx"
            export_onnx(converted, path, Preprocess("image", SHAPE, (0.0,) * 3, (1.0,) * 3))
            made[name, profile] = Quantised(network, graph, converted, path, inputs)
        return made[name, profile]

    return make
