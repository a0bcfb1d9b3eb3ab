"""The precision of losses and of float32 products."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_cudnn: Any = torch.backends.cudnn  # its stubs lack the switches
SWITCHES = (torch.backends.cuda.matmul, _cudnn.conv, _cudnn.rnn)


def full(x: Tensor) -> Tensor:
    """Return ``x`` in float32 where its type is narrower (float16, bfloat16, integers), and as it is otherwise.

    A plain ``.float()`` would narrow float64, in which gradients are checked.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


@contextmanager
def ieee_float32(wanted: bool = True) -> Iterator[None]:
    """Compute float32 products and convolutions on GPUs in IEEE float32 inside the block, if ``wanted``.

    PyTorch itself rounds the factors of convolutions to the 10 bits of TF32 where a GPU has it.
    """
    before = [switch.fp32_precision for switch in SWITCHES]
    if wanted:
        _set(["ieee"] * len(SWITCHES))
    try:
        yield
    finally:
        _set(before)


def set_ieee_float32() -> None:
    """Compute float32 products and convolutions in IEEE float32 from now on, in the whole process."""
    # PyTorch refuses to read its older switches where they differ from the newer ones, and torch.compile reads them.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    # Those alone leave convolutions to torch.backends.fp32_precision.
    _set(["ieee"] * len(SWITCHES))


def _set(precisions: list[str]) -> None:
    for switch, precision in zip(SWITCHES, precisions, strict=True):
        switch.fp32_precision = precision
