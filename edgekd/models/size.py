"""What a network costs on paper: parameters and multiply-accumulates."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of one sample in convolutions and matrix products, in evaluation mode."""
    training = network.training
    network.eval()
    weight = next(network.parameters())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *input_shape, device=weight.device, dtype=weight.dtype))
    network.train(training)
    return int(counter.get_total_flops()) // 2
