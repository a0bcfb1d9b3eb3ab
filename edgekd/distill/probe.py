"""Snapshots of tensors in a forward pass, and an example pass that leaves no trace in the network."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import is_wrapped
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from edgekd.errors import TrainingError, first_line
from edgekd.models.modes import in_evaluation
from edgekd.tasks.signature import Shape, Signature
from edgekd.tasks.tensors import shapes_of

# Class and distillation tokens come before the patches.
EXTRA_TOKENS = 2
# The batch axis is recognised by its size.
SAMPLES = 2


@dataclass(frozen=True)
class Snapshot:
    """A value, and its version at that moment if it is a tensor."""

    value: Any
    version: int

    @property
    def overwritten(self) -> bool:
        """Tell whether the tensor was written to in place since."""
        return version_of(self.value) != self.version


def snapshot(value: Any) -> Snapshot:
    return Snapshot(value, version_of(value))


def version_of(value: Any) -> int:
    """Return autograd's version of a tensor, which grows with every write in place; 0 for other values."""
    return value._version if isinstance(value, Tensor) and not value.is_inference() else 0


def unwrapped(network: nn.Module) -> nn.Module:
    """Return the network inside the wrappers of Fabric and DistributedDataParallel."""
    while is_wrapped(network) or isinstance(network, DistributedDataParallel):
        network = network.module  # type: ignore[assignment]
    return network


def as_map(features: Tensor) -> Tensor:
    """Reshape tokens (N, T, C) to a map (N, C, H, W); return other features as they are.

    The map is square if T is a square number, possibly without one or two leading tokens (class and distillation),
    which are left out. Otherwise it has one row of T tokens.
    """
    if features.ndim != 3:
        return features
    tokens = features.shape[1]
    for extra in range(min(EXTRA_TOKENS + 1, tokens)):
        side = math.isqrt(tokens - extra)
        if side**2 == tokens - extra:
            return features[:, extra:].transpose(1, 2).unflatten(2, (side, side))
    return features.transpose(1, 2).unsqueeze(2)


def run_example(network: nn.Module, input_shape: Shape | Signature) -> Any:
    """Run ``network`` on two samples of zeros, or values near to them, in evaluation mode, and return its output.

    Its modes and buffers and the random state are left as they are.

    Raises:
        TrainingError: the network does not run on such an input.
    """
    weight = next((each for each in network.parameters() if each.is_floating_point()), torch.empty(0))
    example = Signature.of(input_shape).example(SAMPLES, like=weight)
    devices = [weight.device] if weight.is_cuda else []
    with torch.no_grad(), _unchanged(network), torch.random.fork_rng(devices):
        try:
            return network(*example)
        except Exception as error:  # the forward pass is the user's code
            raise TrainingError(
                f"{type(network).__name__} does not run on inputs of {shapes_of(example)}: {first_line(error)}; "
                "give the shape of one input without its batch"
            ) from error


@contextmanager
def _unchanged(network: nn.Module) -> Iterator[None]:
    buffers = {buffer: buffer.clone() for buffer in network.buffers()}
    try:
        with in_evaluation(network):
            yield
    finally:
        for buffer, before in buffers.items():
            buffer.copy_(before)
