"""Costs that can be counted and pruned to a share: multiply-accumulates, parameters, size."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod

from torch import nn

from edgekd.errors import ModelError
from edgekd.models import count_macs, count_parameters
from edgekd.prune.latency import Layer
from edgekd.registry import Registry
from edgekd.tasks.signature import Shape, Signature


@dataclass(frozen=True)
class Count:
    """A countable cost: ``of(network, input_shape)`` for a network, ``count[layer]`` for one layer's weights.

    Attributes:
        words: its name in messages.
    """

    words: str
    of: Callable[[nn.Module, Shape | Signature], int]
    of_layer: Callable[[Layer], int]

    def measure(self, layers: Iterable[Layer]) -> int:
        """Return 0: nothing has to be measured."""
        return 0

    def __getitem__(self, layer: Layer) -> float:
        return self.of_layer(layer)


def _weights(layer: Layer) -> int:
    return prod(layer.weight_shape)


def _bytes(network: nn.Module, _: Shape | Signature) -> int:
    """Return the bytes of all tensors; a file has some kilobytes more for its graph, whatever the widths."""
    return sum(value.numel() * value.element_size() for value in network.state_dict().values())


COUNTS: Registry[Count] = Registry("pruning target", ModelError)
COUNTS["macs"] = Count("MACs", count_macs, lambda layer: layer.macs)
COUNTS["params"] = Count("parameters", lambda network, _: count_parameters(network), _weights)
COUNTS["size"] = Count("size", _bytes, lambda layer: 4 * _weights(layer))
