"""Copies of networks, also of those that keep what their last forward pass computed."""

import copy
from typing import TypeVar

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from edgekd.errors import ModelError, first_line

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def copied(network: ModuleT) -> ModuleT:
    """Return a deep copy of ``network``, which is left as it is.

    PyTorch does not copy tensors that come of a computation, such as the weights of its older weight norm, or features
    that a forward pass keeps in the network: here the copy has their values.

    Raises:
        ModelError: the network holds something that cannot be copied.
    """
    held = [leaf for module in network.modules() for leaf in tree_leaves(vars(module))]
    computed = {id(leaf): leaf.detach().clone() for leaf in held if isinstance(leaf, Tensor) and not leaf.is_leaf}
    try:
        return copy.deepcopy(network, computed)
    except Exception as error:  # modules may hold anything
        raise ModelError(
            f"{type(network).__name__} cannot be copied: {first_line(error)}; keep files, locks, generators and the "
            "like outside of the network's modules"
        ) from error
