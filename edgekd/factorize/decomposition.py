"""The interface of a decomposition, and what they share: the spectrum of an unfolded weight, and layers of a geometry.

Weights are decomposed in float64 on the CPU, so that the same network gives the same factors.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Layer = nn.Linear | nn.Conv1d | nn.Conv2d
Ranks = tuple[int, ...]


@dataclass(frozen=True)
class Positions:
    """How many positions of one sample a layer is computed at: pixels, steps of a sequence, or 1.

    ``between`` counts rows of the output by columns of the input: the positions of a convolution along columns alone.
    """

    input: int
    between: int
    output: int


@dataclass(frozen=True)
class Factors:
    """Weights of the layers that replace one, in their order, and the share of its squared norm that they keep."""

    weights: tuple[Tensor, ...]
    energy: float


class Decomposition(ABC):
    """A layer's weight as a product of smaller ones, at any ranks.

    Args:
        layer: one that :meth:`suits`.
        positions: where the layer is computed.
        round_to: ranks are multiples of this, or full.
    """

    def __init__(self, layer: Layer, positions: Positions, round_to: int = 1):
        self.layer, self.positions, self.round_to = layer, positions, round_to
        self.weight = layer.weight.detach().cpu()

    @staticmethod
    @abstractmethod
    def suits(layer: Layer) -> bool:
        """Return whether the method decomposes such a layer."""

    @staticmethod
    @abstractmethod
    def full(layer: Layer) -> Ranks:
        """Return the ranks at which the product is the weight itself."""

    @staticmethod
    @abstractmethod
    def structure(layer: Layer, ranks: Ranks) -> list[Layer]:
        """Return the layers that replace ``layer``, with random weights."""

    @abstractmethod
    def ranks(self, discard: float) -> Ranks:
        """Return the cheapest ranks that discard at most the share ``discard`` of the squared singular values.

        At 1 they are the cheapest of all, whatever the weight.
        """

    @abstractmethod
    def macs(self, ranks: Ranks) -> int:
        """Count the multiply-accumulates of one sample in the layers that replace this one."""

    @abstractmethod
    def factors(self, ranks: Ranks) -> Factors:
        """Compute the weights of :meth:`structure`; each may still have to be reshaped to its layer's."""


class OneRank(Decomposition):
    """A decomposition by one truncated SVD, of the weight unfolded to a matrix."""

    @property
    @abstractmethod
    def _matrix(self) -> Tensor: ...

    @cached_property
    def spectrum(self) -> "Spectrum":
        return Spectrum(self._matrix)

    def ranks(self, discard: float) -> Ranks:
        return (self.spectrum.rank(discard, self.round_to),)


class Spectrum:
    """The squared singular values of a matrix, as shares of their sum; computed when they are first asked for."""

    def __init__(self, matrix: Tensor):
        self._matrix = matrix
        self.full = min(matrix.shape)

    @cached_property
    def tails(self) -> NDArray[np.float64]:
        """Return at index r the share that rank r discards; the last, at full rank, is 0."""
        # Eigenvalues of the Gram matrix of the shorter side: the longer one is often nine times as long.
        matrix = self._matrix.to(torch.float64)
        short = matrix if matrix.shape[0] == self.full else matrix.T
        ascending = np.maximum(torch.linalg.eigvalsh(short @ short.T).numpy(), 0.0)
        tails = np.concatenate([[0.0], ascending.cumsum()])[::-1]
        return tails / tails[0] if tails[0] > 0 else tails

    def rank(self, discard: float, round_to: int = 1) -> int:
        """Return the least rank that discards at most the share ``discard``, rounded up to a multiple, or full."""
        least = 1 if discard >= 1 else max(1, int(np.searchsorted(-self.tails, -discard)))
        return min(-(-least // round_to) * round_to, self.full)

    def candidates(self, round_to: int = 1) -> list[int]:
        """Return the ranks that there are: multiples of ``round_to``, and full."""
        return [*range(round_to, self.full, round_to), self.full]


def leading_vectors(matrix: Tensor, rank: int) -> Tensor:
    """Return the ``rank`` leading left singular vectors of a matrix in float64, (rows, rank); all at full rank.

    They are eigenvectors of its Gram matrix, which takes a fraction of the time of a singular value decomposition.
    """
    return torch.linalg.eigh(matrix @ matrix.T).eigenvectors[:, -rank:].flip(1)


def singular_factors(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return (rows, rank) and (rank, columns), whose product is the best approximation of ``matrix`` at ``rank``.

    Each takes the square root of the singular values, so that neither has all of the range.
    """
    matrix = matrix.to(torch.float64)
    if matrix.shape[0] > matrix.shape[1]:
        left, right = singular_factors(matrix.T, rank)
        return right.T, left.T
    vectors = leading_vectors(matrix, rank)
    projected = vectors.T @ matrix
    root = projected.norm(dim=1).sqrt()
    return vectors * root, projected * torch.where(root > 0, 1 / root, 0.0)[:, None]


def kernel_area(layer: Layer) -> int:
    """Return the number of taps of a filter, 1 for a linear layer."""
    return prod(layer.weight.shape[2:])


def pointwise(layer: Layer, inputs: int, outputs: int, bias: bool = False) -> Layer:
    """Return a convolution of one tap, of as many dimensions as ``layer`` has."""
    if isinstance(layer, nn.Linear):
        return nn.Linear(inputs, outputs, bias)
    return type(layer)(inputs, outputs, 1, bias=bias)


def reshaped(layer: Layer, inputs: int, outputs: int, bias: bool = False, **changed: Any) -> Layer:
    """Return a layer of the geometry of ``layer`` with other widths, and with what ``changed`` says."""
    if isinstance(layer, nn.Linear):
        return nn.Linear(inputs, outputs, bias)
    geometry = ("kernel_size", "stride", "padding", "dilation", "padding_mode")
    given = {name: getattr(layer, name) for name in geometry}
    return type(layer)(inputs, outputs, bias=bias, **{**given, **changed})
