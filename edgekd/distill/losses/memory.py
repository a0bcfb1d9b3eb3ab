"""Memory banks of Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination" (CVPR 2018)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MemoryBank(nn.Module):
    """A unit vector for each sample of the training set, the moving average of the sample's embeddings.

    The vectors are a buffer and go into checkpoints. They start at random on the sphere.

    Args:
        samples: number of samples in the training set.
        width: width of the embeddings.
        momentum: the share of the old vector that an update keeps, in [0, 1).
    """

    vectors: Tensor

    def __init__(self, samples: int, width: int, momentum: float = 0.5):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("vectors", F.normalize(torch.randn(samples, width), dim=1))

    def similarities(self, embedded: Tensor, indices: Tensor) -> Tensor:
        """Compute inner products with the vectors at ``indices``; the bank itself gets no gradient.

        Args:
            embedded: (N, width).
            indices: (N, K), of samples in the training set.

        Returns:
            (N, K).
        """
        # One product with the whole bank reads it once; N·K gathered vectors are half a gigabyte at 64·16384 and took
        # a CPU 25 times as long.
        with torch.autocast(embedded.device.type, enabled=False):
            return (embedded @ self.vectors.to(embedded.dtype).T).gather(1, indices)

    @torch.no_grad()
    def update(self, embedded: Tensor, indices: Tensor) -> None:
        """Average ``embedded`` (N, width) into the vectors of the samples ``indices`` (N,), and normalise these."""
        moved = self.momentum * self.vectors[indices] + (1 - self.momentum) * embedded.to(self.vectors.dtype)
        # A new tensor: the backward pass still needs the vectors that the similarities came from.
        self.vectors = self.vectors.index_copy(0, indices, F.normalize(moved, dim=1))


def draw_negatives(indices: Tensor, count: int, samples: int) -> Tensor:
    """Draw ``count`` other samples for each of ``indices``, by torch's global generator of their device.

    Each row is drawn uniformly without replacement and never has the row's own sample. All rows are parts of one
    permutation, so they are not independent. No row has a sample twice, which makes gradients on a GPU the same in
    every run.

    Args:
        indices: (N,), in [0, samples).
        count: in [1, samples − 1].

    Returns:
        (N, count).
    """
    order = torch.randperm(samples, device=indices.device)
    steps = torch.arange(1, count + 1, device=indices.device)
    return order[(order.argsort()[indices][:, None] + steps) % samples]
