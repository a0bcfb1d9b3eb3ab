"""Samples as vectors: what losses on directions, similarities and distances share."""

import torch
from torch import Tensor


def unit(x: Tensor) -> Tensor:
    """``x`` with its rows, the last dimension, at an L2 norm of 1; a row of zeros stays one.

    Dividing by a norm plus a small number would give such rows, which dead activations do have, a gradient that is
    large enough to end a training.
    """
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / norm.masked_fill(norm == 0, 1)


def inner_products(x: Tensor) -> Tensor:
    """(..., N, D) to (..., N, N), in the precision of ``x`` also where autocast would have products in less."""
    with torch.autocast(x.device.type, enabled=False):
        return x @ x.mT


def embedding(x: Tensor) -> Tensor:
    """(N, C, H, W) to (N, C), the mean over a map's places; (N, C) as it is."""
    return x.flatten(2).mean(2) if x.ndim > 2 else x
