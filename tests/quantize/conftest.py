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


class Residual(nn.Module):
    """ResNet's sum with a ReLU behind it, then a pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.one = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.two = nn.Conv2d(8, 8, 3, padding="same")
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.bn(self.one(x)))
        x = torch.relu(self.two(self.pool(x)))
        return self.head(x.mean((2, 3)))


class Dense(nn.Module):
    """DenseNet's layers, each of which reads all that came before."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = (nn.Conv2d(width, 8, 3, padding=1) for width in (3, 8, 16))
        self.head = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.cat([x, torch.relu(self.one(x))], 1)
        x = torch.cat([x, torch.relu(self.two(x))], 1)
        return self.head(x.mean((2, 3)))


class Bottleneck(nn.Module):
    """MobileNetV2's: ReLU6, a depthwise convolution, a sum without a ReLU. One filter is zero, one layer is dead."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.wide = nn.Conv2d(3, 8, 3, bias=False), nn.Conv2d(8, 16, 1)
        self.depthwise, self.narrow = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 8, 1)
        self.bn, self.relu = nn.BatchNorm2d(8), nn.ReLU6(inplace=True)
        self.dead = nn.Conv2d(8, 8, 1)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 4))
        with torch.no_grad():
            self.wide.weight[2] = 0
            self.wide.bias[2] = 0
            self.dead.bias.fill_(-1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn(self.stem(x)))
        x = x + self.narrow(self.relu(self.depthwise(self.relu(self.wide(x)))))
        return self.head(x + torch.relu(self.dead(x)))


class Averaged(nn.Module):
    """SqueezeNet's end: a convolution for each class, averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.pool(torch.relu(self.head(torch.relu(self.stem(x))))), 1)


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "residual": Residual,
    "dense": Dense,
    "bottleneck": Bottleneck,
    "averaged": Averaged,
    "mlp": lambda: build("mlp", SHAPE, 4, hidden=(16, 16)),
}


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
    made: dict[str, Quantised] = {}

    def make(name: str) -> Quantised:
        if name not in made:
            torch.manual_seed(0)
            network = MAKERS[name]().eval()
            inputs = torch.randn(16, *SHAPE)
            graph = prepare(network, SHAPE)
            calibrate(graph, [inputs])
            converted = convert(graph)
            path = tmp_path_factory.mktemp("quantised") / "model.onnx"
            export_onnx(converted, path, Preprocess("image", SHAPE, (0.0,) * 3, (1.0,) * 3))
            made[name] = Quantised(network, graph, converted, path, inputs)
        return made[name]

    return make
