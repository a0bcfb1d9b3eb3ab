"""BatchNorm's statistics, estimated anew."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@torch.no_grad()
def reestimate(network: nn.Module, batches: Iterable[Tensor]) -> int:
    """Sets the running mean and variance of every BatchNorm to the plain average over ``batches``.

    For after something changed the activations and before it is used: a cut, or a fold into quantised weights.
    Nothing else learns or drops out; the network ends in the mode that it came in.

    Args:
        batches: inputs of shape (N, ...), of two samples or more.

    Returns:
        How many layers have new statistics; 0 where there is no BatchNorm, and no batch is asked for.
    """
    norms = [module for module in network.modules() if isinstance(module, NORMS) and module.track_running_stats]
    if not norms:
        return 0
    training, momenta = network.training, [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
    for inputs in batches:
        network(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.train(training)
    return len(norms)
