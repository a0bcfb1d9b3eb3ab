"""Detectors with statistics as after training."""

import torch
from torch import nn


def settled(network: nn.Module, seed: int = 0) -> nn.Module:
    """Return ``network`` in evaluation mode with drawn statistics of BatchNorm."""
    generator = torch.Generator().manual_seed(seed)
    for each in network.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.running_mean.normal_(generator=generator)
            each.running_var.uniform_(0.5, 2, generator=generator)
    return network.eval()
