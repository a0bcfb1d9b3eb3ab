"""Truncated SVD of linear layers and of convolutions of one tap: W ≈ U V, two layers.

Denton et al., "Exploiting Linear Structure Within Convolutional Networks for Efficient Evaluation" (2014); the best
approximation at its rank by the theorem of Eckart and Young.
"""

from torch import Tensor

from edgekd.factorize.decomposition import (
    Factors,
    Layer,
    OneRank,
    Ranks,
    kernel_area,
    pointwise,
    reshaped,
    singular_factors,
)


class TruncatedSVD(OneRank):
    """W (outputs, inputs) as (outputs, rank) times (rank, inputs); the first layer has the stride."""

    @staticmethod
    def suits(layer: Layer) -> bool:
        return kernel_area(layer) == 1

    @staticmethod
    def full(layer: Layer) -> Ranks:
        return (min(layer.weight.shape[:2]),)

    @staticmethod
    def structure(layer: Layer, ranks: Ranks) -> list[Layer]:
        outputs, inputs = layer.weight.shape[:2]
        [rank] = ranks
        return [reshaped(layer, inputs, rank), pointwise(layer, rank, outputs, layer.bias is not None)]

    def macs(self, ranks: Ranks) -> int:
        return ranks[0] * sum(self._matrix.shape) * self.positions.output

    def factors(self, ranks: Ranks) -> Factors:
        last, first = singular_factors(self._matrix, ranks[0])
        return Factors((first, last), float(1 - self.spectrum.tails[ranks[0]]))

    @property
    def _matrix(self) -> Tensor:
        return self.weight.flatten(1)
