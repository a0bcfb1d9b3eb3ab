from collections.abc import Callable

from torch import nn

from edgekd.errors import TrainingError
from edgekd.registry import Registry

LOSSES: Registry[Callable[..., nn.Module]] = Registry("distillation method", TrainingError)
