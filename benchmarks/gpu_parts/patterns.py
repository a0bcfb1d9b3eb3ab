"""Data and networks that several parts share: random images, since speed and agreement need no others."""

import torch
from gpu_parts.tools import settled
from torch import Tensor, nn

from edgekd.data.dataset import DataSet
from edgekd.data.samples import InMemory
from edgekd.models import build
from edgekd.preprocess import Preprocess

SHAPE, CLASSES = (3, 32, 32), 10
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def images(count: int, seed: int = 0) -> Tensor:
    """Return uint8 images (N, 3, 32, 32), one pattern for each class under noise, so that there is a task to learn."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 128, (count, *SHAPE), generator=random)
    patterns = torch.randint(0, 128, (CLASSES, *SHAPE), generator=torch.Generator().manual_seed(1))
    return (noise + patterns[labels(count)]).to(torch.uint8)


def labels(count: int) -> Tensor:
    return torch.arange(count) % CLASSES


def data_set(train: int, validation: int, batch_size: int) -> DataSet:
    counts = (train, validation, validation)
    training, held_out, test = (InMemory(images(count, seed), labels(count)) for seed, count in enumerate(counts))
    scale = Preprocess("image", SHAPE, MEAN, STD)
    names = tuple(map(str, range(CLASSES)))
    return DataSet("patterns", names, scale, training, held_out, test, batch_size, ("crop", "flip"))


def network(name: str, seed: int = 0) -> nn.Module:
    """Build a network with BatchNorm's statistics of random inputs: activations of a new one fade in evaluation."""
    torch.manual_seed(seed)
    made = build(name, SHAPE, CLASSES)
    return settled(made, torch.randn(32, *SHAPE))
