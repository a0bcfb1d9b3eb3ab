"""The networks that the clocks are held against each other on: float32, random weights of seed 0, batch 1."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

SEED, CLASSES = 0, 10
# Small pictures: what a call costs besides the work shows most where the work is short.
NETWORKS = {
    "ResNet-8": ("resnet8", 32),
    "MobileNetV2": ("torchvision/mobilenet_v2", 96),
    "ResNet-18": ("torchvision/resnet18", 64),
}


def shape(name: str) -> tuple[int, ...]:
    return 3, NETWORKS[name][1], NETWORKS[name][1]


def network(name: str) -> "nn.Module":
    # Only here, so that a clock that needs no PyTorch runs without it.
    import torch

    from edgekd.models import build

    torch.manual_seed(SEED)
    return build(NETWORKS[name][0], shape(name), CLASSES).eval()


def write_onnx(name: str, folder: Path) -> Path:
    from edgekd.export import export_onnx
    from edgekd.preprocess import Preprocess

    preprocess = Preprocess("image", shape(name), (0.5,) * 3, (0.25,) * 3)
    return export_onnx(network(name), folder / f"{name}.onnx", preprocess)
