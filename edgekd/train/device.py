"""Where training runs and in which precision; Fabric does the rest."""

from typing import Literal, TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)
Precision = Literal["32-true", "bf16-mixed"]


def has_fast_bf16() -> bool:
    """Whether products of bfloat16 run natively: on other processors they are emulated and slower than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, check, bool)()) for check in checks)


def make_fabric(float32: bool = False) -> Fabric:
    """One device: the GPU where there is one. ``float32`` refuses reduced precision."""
    precision: Precision = "bf16-mixed" if has_fast_bf16() and not float32 else "32-true"
    return Fabric(accelerator="auto", devices=1, precision=precision)


def channels_last(inputs: Tensor) -> Tensor:
    """Images (N, C, H, W) in the layout in which convolutions are up to three times faster; the rest as it is."""
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.ndim == 4 else inputs


def lay_out(network: ModuleT) -> ModuleT:
    """Puts the weights of 2-d convolutions in that layout, in place.

    ``Module.to(memory_format=...)`` would do it, but fails at the first 3-d convolution.
    """
    for tensor in (*network.parameters(), *network.buffers()):
        tensor.data = channels_last(tensor.data)
    return network
