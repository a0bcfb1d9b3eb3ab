from collections.abc import Callable

import torch_pruning as tp

from edgekd.errors import ModelError
from edgekd.registry import Registry

IMPORTANCES: Registry[Callable[[], tp.importance.Importance]] = Registry("importance", ModelError)
