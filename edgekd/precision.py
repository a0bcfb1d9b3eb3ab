"""The precision that losses are computed in."""

import torch
from torch import Tensor


def full(x: Tensor) -> Tensor:
    """Return ``x`` in float32 where its type is narrower (float16, bfloat16, integers), and as it is otherwise.

    A plain ``.float()`` would narrow float64, in which gradients are checked.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))
