"""A network of a zoo with random weights, and images for it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgekd.models import build

SEED, STATISTICS, BATCH = 0, 16, 8


@dataclass(frozen=True)
class ZooNetwork:
    """A network by name; ``kind`` is what it is for, and ``shape`` is of one input."""

    name: str
    builder: str
    shape: tuple[int, ...]
    classes: int
    kind: str = "classes"


def random_images(shape: tuple[int, ...], count: int, seed: int = SEED) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def build_network(entry: ZooNetwork) -> nn.Module:
    """Build a network whose BatchNorm statistics are those of random images."""
    torch.manual_seed(SEED)
    network = build(entry.builder, entry.shape, entry.classes).eval()
    for parameter in network.parameters():
        # Heads of zeros and blocks scaled by 1e-6 would hide what is behind them.
        if parameter.dim() > 1 and float(parameter.detach().abs().max()) < 1e-5:
            nn.init.normal_(parameter, std=0.1)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        # Without momentum they are the mean over all batches.
        norm.momentum = None
        norm.train()
    if norms:
        with torch.no_grad():
            for images in random_images(entry.shape, STATISTICS).split(BATCH):
                network(images)
    return network.eval()
