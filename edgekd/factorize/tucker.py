"""Tucker-2: a convolution of one tap to fewer channels, a core of the layer's own geometry, and one of one tap back.

Kim et al., "Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile Applications" (2016),
section 3.1, equations 4 to 6. Bases start from the truncated higher-order SVD and are improved by alternating least
squares, higher-order orthogonal iteration (De Lathauwer et al., 2000). A side at full rank has no layer of its own,
which leaves the paper's two layers of Tucker-1, also known as channel decomposition.
"""

from functools import cached_property

import torch
from torch import Tensor

from edgekd.factorize.decomposition import (
    Decomposition,
    Factors,
    Layer,
    Ranks,
    Spectrum,
    kernel_area,
    leading_vectors,
    pointwise,
    reshaped,
)

ITERATIONS = 4


class Tucker2(Decomposition):
    """W (outputs, inputs, taps) as a core (rank_out, rank_in, taps) times a basis (channels, rank) on either side."""

    @staticmethod
    def suits(layer: Layer) -> bool:
        return kernel_area(layer) > 1

    @staticmethod
    def full(layer: Layer) -> Ranks:
        outputs, inputs = layer.weight.shape[:2]
        return inputs, outputs

    @staticmethod
    def structure(layer: Layer, ranks: Ranks) -> list[Layer]:
        outputs, inputs = layer.weight.shape[:2]
        rank_in, rank_out = ranks
        bias = layer.bias is not None
        return [
            *([pointwise(layer, inputs, rank_in)] if rank_in < inputs else []),
            reshaped(layer, rank_in, rank_out, bias and rank_out == outputs),
            *([pointwise(layer, rank_out, outputs, bias)] if rank_out < outputs else []),
        ]

    @cached_property
    def spectra(self) -> tuple[Spectrum, Spectrum]:
        """Compute the spectra of the weight unfolded along its inputs and along its outputs."""
        tensor = self._tensor
        return Spectrum(_unfolded(tensor, 1)), Spectrum(_unfolded(tensor, 0))

    def ranks(self, discard: float) -> Ranks:
        """Return the cheapest ranks whose sides discard no more than ``discard`` together, a bound of what is lost."""
        (into, out), taps = self.spectra, kernel_area(self.layer)
        found = []
        for rank_in in into.candidates(self.round_to):
            rest = 1.0 if discard >= 1 else discard - into.tails[rank_in]
            # The full rank has no layer of its own, and may be cheaper than the least.
            for rank_out in {out.rank(rest, self.round_to), out.full} if rest >= 0 else ():
                # A core has no more independent rows than columns.
                found.append((min(rank_in, rank_out * taps), min(rank_out, rank_in * taps)))
        return min(found, key=lambda ranks: (self.macs(ranks), ranks))

    def macs(self, ranks: Ranks) -> int:
        (outputs, inputs, taps), positions = self._tensor.shape, self.positions
        first = inputs * ranks[0] * positions.input if ranks[0] < inputs else 0
        last = ranks[1] * outputs * positions.output if ranks[1] < outputs else 0
        return first + taps * ranks[0] * ranks[1] * positions.output + last

    def factors(self, ranks: Ranks) -> Factors:
        tensor, (rank_in, rank_out) = self._tensor.to(torch.float64), ranks
        outputs, inputs, _ = tensor.shape
        into, out = _basis(tensor, 1, rank_in), _basis(tensor, 0, rank_out)
        # With one side at full rank the other's basis is the best already.
        for _ in range(ITERATIONS if rank_in < inputs and rank_out < outputs else 0):
            out = _basis(torch.einsum("oik,ia->oak", tensor, into), 0, rank_out)
            into = _basis(torch.einsum("oik,ob->bik", tensor, out), 1, rank_in)
        core = torch.einsum("oik,ia,ob->bak", tensor, into, out)
        norm = float(tensor.square().sum())
        energy = float(core.square().sum()) / norm if norm else 1.0
        first, last = ([into.T] if rank_in < inputs else []), ([out] if rank_out < outputs else [])
        return Factors((*first, core, *last), min(energy, 1.0))

    @property
    def _tensor(self) -> Tensor:
        return self.weight.flatten(2)


def _unfolded(tensor: Tensor, axis: int) -> Tensor:
    return tensor.movedim(axis, 0).flatten(1)


def _basis(tensor: Tensor, axis: int, rank: int) -> Tensor:
    """The leading left singular vectors of the unfolded tensor, (channels, rank); the identity at full rank."""
    matrix = _unfolded(tensor, axis)
    return torch.eye(rank, dtype=matrix.dtype) if rank == len(matrix) else leading_vectors(matrix, rank)
