"""The networks of factorize.py and their images: CIFAR-10's where they are at hand, else scikit-learn's digits."""

import tarfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from common import say
from safetensors.torch import load_file
from torch import nn

from edgekd.data import DataSet, load_data
from edgekd.models import build, load_checkpoint
from edgekd.recipe import Data, Train
from edgekd.spec import Spec

IMAGES, CHECKPOINTS = "cifar10-jpeg", "checkpoints"
# What the public checkpoints were trained with.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH_SIZE, VALIDATION = 32, 0.1


@dataclass(frozen=True)
class Network:
    """Where a network comes from, and how it is trained before anything is taken from it.

    ``head`` is the layer that gives the logits. Of a ``checkpoint``, which lies in the folder of data, those tensors
    are taken that fit, and the network is trained by ``tune``; from random weights it is by ``train``.
    """

    name: str
    builder: str
    side: int
    head: str
    train: Train
    checkpoint: str | None = None
    tune: Train = field(default_factory=Train)
    seeds: int = 1

    @property
    def shape(self) -> tuple[int, int, int]:
        return 3, self.side, self.side

    @property
    def spec(self) -> Spec:
        return Spec(self.builder, self.shape, 10)


NETWORKS = (
    Network(
        *("ResNet-20", "resnet20", 32, "linear", Train(epochs=6, lr=0.05)),
        *("resnet20-12fca82f.th", Train(epochs=1, lr=0.005), 3),
    ),
    # The checkpoint has another stem, for pictures of 32x32.
    Network(
        *("ResNet-18", "torchvision/resnet18", 64, "fc", Train(epochs=6, lr=0.05)),
        *("resnet18-cifar10jpeg.safetensors", Train(epochs=3, lr=0.02)),
    ),
    Network("MobileNetV2", "torchvision/mobilenet_v2", 64, "classifier.1", Train(epochs=8, lr=0.05)),
)


def images_of(data: Path, out: Path) -> Path | None:
    """Return the folder of CIFAR-10's images in ``data``, unpacked below ``out`` where it is an archive there."""
    if (data / IMAGES).is_dir():
        return data / IMAGES
    archive, unpacked = data / f"{IMAGES}.tar.gz", out / IMAGES
    if archive.is_file() and not unpacked.is_dir():
        say(f"{archive} is unpacked")
        part = out / f"{IMAGES}.part"
        with tarfile.open(archive) as packed:
            packed.extractall(part, filter="data")
        (part / IMAGES).rename(unpacked)
        part.rmdir()
    return unpacked if unpacked.is_dir() else None


def load_images(images: Path | None, side: int, train_limit: int, test_limit: int | None) -> DataSet:
    shared: dict[str, Any] = {
        **{"image_size": side, "grayscale": False, "batch_size": BATCH_SIZE, "validation": VALIDATION},
        **{"train_limit": train_limit, "test_limit": test_limit, "mean": MEAN, "std": STD},
    }
    if images is None:
        return load_data(Data(source="digits", augment=("crop",), **shared))
    return load_data(Data(source="folder", path=images, augment=("crop", "flip"), **shared))


def begun(network: Network, checkpoints: Path) -> tuple[nn.Module, Train]:
    """Return the network with the checkpoint's weights, or random ones, and how it is trained then."""
    torch.manual_seed(0)
    found = build(network.builder, network.shape, 10)
    checkpoint = checkpoints / network.checkpoint if network.checkpoint else None
    if checkpoint is None or not checkpoint.is_file():
        return found, network.train
    if checkpoint.suffix == ".safetensors":
        own, given = found.state_dict(), load_file(checkpoint)
        fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
        say(f"{network.name}: {len(fitting)} of {len(own)} tensors of {checkpoint.name}")
        found.load_state_dict({**own, **{name: value.to(own[name].dtype) for name, value in fitting.items()}})
    else:
        load_checkpoint(found, checkpoint)
    return found, network.tune


def shortened(network: Network, epochs: int) -> Network:
    """Return the same with at most ``epochs`` of training, and one seed."""
    train, tune = (
        section.model_copy(update={"epochs": min(epochs, section.epochs)}) for section in (network.train, network.tune)
    )
    return replace(network, train=train, tune=tune, seeds=1)
