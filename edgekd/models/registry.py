"""The networks that a recipe can name; an entry takes the input's shape without the batch, and the classes."""

from collections.abc import Callable

from torch import nn

from edgekd.errors import ModelError
from edgekd.registry import Registry

MODELS: Registry[Callable[..., nn.Module]] = Registry("model", ModelError)
