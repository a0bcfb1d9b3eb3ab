"""Re-estimation of BatchNorm's statistics."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from edgekd.errors import TrainingError, first_line
from edgekd.machine_lock import give_way, training
from edgekd.tasks.tensors import Inputs, arguments_of

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@torch.no_grad()
def reestimate(network: nn.Module, batches: Iterable[Inputs]) -> int:
    """Set the running mean and variance of every BatchNorm to the plain average over ``batches``.

    This is needed after activations have changed, as by a cut, or before a fold into quantised weights. Weights stay,
    dropout is off, and the network's mode is restored.

    Args:
        batches: inputs of shape (N, ...), of two samples or more; of a network with several, a tuple of them.

    Raises:
        TrainingError: there is a BatchNorm and no batch, and its statistics are then 0 and 1; or a batch of one sample
            gives one of them a single value.

    Returns:
        The number of layers with new statistics; 0 without BatchNorm, and then ``batches`` is not read.
    """
    norms = [module for module in network.modules() if isinstance(module, NORMS) and module.track_running_stats]
    if not norms:
        return 0
    modes = {module: module.training for module in network.modules()}
    momenta = {norm: norm.momentum for norm in norms}
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
    seen = 0
    try:
        with training():
            for inputs in batches:
                _run(network, arguments_of(inputs))
                seen += 1
                give_way()
    finally:
        for norm in norms:
            norm.momentum = momenta[norm]
        for module, mode in modes.items():
            module.training = mode
    if not seen:
        raise TrainingError("no batch to estimate BatchNorm's statistics from: give at least one")
    return len(norms)


def _run(network: nn.Module, inputs: Sequence[Tensor]) -> None:
    try:
        network(*inputs)
    except ValueError as error:
        if len(inputs[0]) > 1:
            raise
        raise TrainingError(
            f"BatchNorm's statistics cannot be estimated from a batch of one sample: {first_line(error)}; give batches "
            "of two or more"
        ) from error
