"""The device and the precision of a training; Fabric does the rest."""

from collections.abc import Iterator, Sequence
from functools import cache
from operator import attrgetter
from typing import Literal, TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.fx import GraphModule

from edgekd.log import get_logger, without_info
from edgekd.tasks.tensors import Named, map_inputs
from edgekd.train import distributed

logger = get_logger(__name__)
ModuleT = TypeVar("ModuleT", bound=nn.Module)
Precision = Literal["32-true", "bf16-mixed"]


def has_fast_bf16() -> bool:
    """Return whether bfloat16 runs natively; on other processors it is emulated and slower than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, check, bool)()) for check in checks)


def make_fabric(float32: bool = False) -> Fabric:
    """Make a Fabric for one device: the rank's own GPU, or the CPU. With ``float32`` nothing is less precise."""
    precision: Precision = "bf16-mixed" if has_fast_bf16() and not float32 else "32-true"
    own = [distributed.local_rank()] if distributed.world_size() > 1 and torch.cuda.is_available() else 1
    if precision == "bf16-mixed":
        _say_bfloat16()
    with without_info("lightning_fabric.utilities.rank_zero"):  # it says so at each Fabric
        return Fabric(accelerator="auto", devices=own, precision=precision)


@cache
def _say_bfloat16() -> None:
    logger.info("layers compute in bfloat16 where that loses nothing (mixed precision), which is faster here")


def channels_last(tensor: Tensor) -> Tensor:
    """Return images (N, C, H, W) in the channels-last layout, in which convolutions are up to three times faster.

    Return other tensors as they are.
    """
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def channels_first(tensor: Tensor) -> Tensor:
    """Return a copy in the usual layout; ``contiguous()`` would keep the strides of one channel or one pixel."""
    return tensor.clone(memory_format=torch.contiguous_format)


def laid_out(inputs: Named, device: torch.device, last: bool = True) -> Named:
    """Return a batch on ``device``, its images in the channels-last layout or, with ``last=False``, the usual one."""
    return map_inputs(inputs, lambda each: moved(channels_last(each) if last else channels_first(each), device))


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Return ``tensor`` on ``device``. A copy to a GPU does not wait for the work that the GPU still has."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def lay_out(network: ModuleT, last: bool = True) -> ModuleT:
    """Put the weights of 2-d convolutions into the channels-last layout, in place, or with ``last=False`` out of it.

    ``Module.to(memory_format=...)`` would do it, but fails at the first 3-d convolution.
    """
    for tensor in (*network.parameters(), *network.buffers()):
        tensor.data = channels_last(tensor.data) if last else channels_first(tensor.data)
    return network


def trains_channels_last(network: nn.Module, device: torch.device) -> bool:
    """Return whether gradients are correct in the channels-last layout.

    On a CPU, oneDNN writes past its memory in the gradient of a strided 1x1 convolution whose input channels
    do not fill one register (uxlfoundation/oneDNN issue 6035): a crash, or numbers other than the gradient's.
    """
    register = 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 8
    narrow = any(
        weight.shape[2:] == (1, 1) and max(stride) > 1 and weight.shape[1] < register
        for weight, stride in _convolutions(network)
    )
    return device.type != "cpu" or not narrow


def _convolutions(network: nn.Module) -> Iterator[tuple[Tensor, Sequence[int]]]:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            yield module.weight, module.stride
        elif isinstance(module, GraphModule):
            for node in module.graph.find_nodes(op="call_function", target=torch.ops.aten.conv2d.default):
                weight, stride = node.args[1], [*node.args[3:4], (1, 1)][0]
                while weight.op != "get_attr" and weight.args:  # fake-quantisation stands between
                    weight = weight.args[0]
                if weight.op != "get_attr":
                    continue  # weights computed from the input
                yield attrgetter(weight.target)(module), stride
