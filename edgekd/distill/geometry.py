"""Geometry of embeddings, for losses of directions, similarities and distances."""

import torch
from torch import Tensor


def unit(x: Tensor) -> Tensor:
    """Normalise the rows of ``x``, its last dimension, to an L2 norm of 1; a row of zeros stays zero.

    Dividing by a norm plus a small number would give rows of zeros, which dead activations have, a gradient large
    enough to break a training.
    """
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / norm.masked_fill(norm == 0, 1)


def inner_products(x: Tensor) -> Tensor:
    """Compute the inner products (..., N, N) of the rows of ``x`` (..., N, D), in its precision also under autocast."""
    with torch.autocast(x.device.type, enabled=False):
        return x @ x.mT


def embedding(x: Tensor) -> Tensor:
    """Average a map (N, C, H, W) over its positions, to (N, C); return (N, C) as it is."""
    return x.flatten(2).mean(2) if x.ndim > 2 else x
