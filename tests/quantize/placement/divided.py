"""Networks that are no chain, quantised and exported once for all tests, with the regions that they have."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from onnx import ModelProto
from torch import Tensor, nn

from edgekd.models import build
from edgekd.models.signature import find_signature
from edgekd.preprocess import Preprocess
from edgekd.quantize import calibrate, prepare
from edgekd.quantize.qdq import to_qdq

PROFILE = "onnxruntime-x86"
SIDE = 32


class TwoHeads(nn.Module):
    """A trunk, two convolutions for one output and a residual block for the other."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.trunk = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.near = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 2, 1)])
        self.far = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 4, 1)])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = torch.relu(self.trunk(torch.relu(self.stem(x))))
        near = self.near[1](torch.relu(self.near[0](x)))
        return {"near": near, "far": self.far[1](torch.relu(x + self.far[0](x)))}


class OneHeadTwice(nn.Module):
    """A head that two levels share."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fine = torch.relu(self.stem(x))
        return self.head(fine), self.head(torch.relu(self.down(fine)))


class Indexed(nn.Module):
    """Positions of samples, counted by the shape of what came in, select what goes out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.stem(x)))[torch.arange(x.shape[0])]


class Upsampled(nn.Module):
    """A decoder below which lies a residual block, whose input is the skip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two, self.last = (
            nn.Conv2d(inputs, outputs, 3, padding=1) for inputs, outputs in ((3, 8), (8, 8), (8, 8), (16, 4))
        )

    def forward(self, x: Tensor) -> Tensor:
        skip = torch.relu(self.stem(x))
        x = torch.relu(skip + self.two(torch.relu(self.one(skip))))
        x = F.interpolate(F.max_pool2d(x, 2), scale_factor=2.0, mode="nearest")
        return self.last(torch.cat([skip, x], 1))


def pyramid(**args: Any) -> nn.Module:
    return build("pyramid_detector", (3, SIDE, SIDE), 3, width=4, **args)


NETWORKS = {
    "unet": lambda: build("unet", (3, SIDE, SIDE), 4, width=8, depth=2),
    "fpn": pyramid,
    "pan": lambda: pyramid(neck="pan", block="c2f", strides=(4, 8)),
    "heads": TwoHeads,
    "shared": OneHeadTwice,
    "upsampled": Upsampled,
    "indexed": Indexed,
}


@dataclass(frozen=True)
class Divided:
    """A network's graph with Q/DQ pairs, and images to run its files on."""

    model: ModelProto
    images: np.ndarray

    def outputs(self, file: ModelProto) -> list[np.ndarray]:
        """Return what ONNX Runtime computes with a file of the network."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, 1
        session = onnxruntime.InferenceSession(file.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: self.images})


@cache
def divided(name: str) -> Divided:
    """Not to be changed."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    for _ in range(3):
        network(torch.randn(8, 3, SIDE, SIDE))
    images = torch.randn(8, 3, SIDE, SIDE)
    signature = find_signature(network.eval(), images)
    graph = prepare(network, signature, PROFILE)
    calibrate(graph, [images])
    preprocess = Preprocess("image", (3, SIDE, SIDE), (0.0,) * 3, (1.0,) * 3)
    return Divided(to_qdq(graph, preprocess, inputs=signature), images.numpy())
