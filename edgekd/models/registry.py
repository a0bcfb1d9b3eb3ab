"""The registry of networks; an entry is called with the input's shape, without the batch, and the number of classes."""

from collections.abc import Callable

from torch import nn

from edgekd.errors import ModelError
from edgekd.registry import Registry

MODELS: Registry[Callable[..., nn.Module]] = Registry("model", ModelError)
