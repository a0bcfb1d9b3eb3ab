"""Spatial separation: a convolution along columns, then one along rows.

Jaderberg et al., "Speeding up Convolutional Neural Networks with Low Rank Expansions" (2014), scheme 2, with the closed
form of Tai et al., "Convolutional neural networks with low-rank regularization" (2016), theorem 1.
"""

from typing import cast

from torch import Tensor, nn

from edgekd.factorize.decomposition import (
    Factors,
    Layer,
    OneRank,
    Ranks,
    reshaped,
    singular_factors,
)


class SpatialSVD(OneRank):
    """W (outputs, inputs, height, width), unfolded to (inputs · height, outputs · width), by truncated SVD."""

    @staticmethod
    def suits(layer: Layer) -> bool:
        return isinstance(layer, nn.Conv2d) and min(layer.kernel_size) > 1

    @staticmethod
    def full(layer: Layer) -> Ranks:
        outputs, inputs, height, width = layer.weight.shape
        return (min(inputs * height, outputs * width),)

    @staticmethod
    def structure(layer: Layer, ranks: Ranks) -> list[Layer]:
        [rank] = ranks
        return [
            reshaped(layer, layer.weight.shape[1], rank, False, **_along(layer, 0)),
            reshaped(layer, rank, layer.weight.shape[0], layer.bias is not None, **_along(layer, 1)),
        ]

    def macs(self, ranks: Ranks) -> int:
        outputs, inputs, height, width = self.weight.shape
        return ranks[0] * (inputs * height * self.positions.between + outputs * width * self.positions.output)

    def factors(self, ranks: Ranks) -> Factors:
        outputs, inputs, height, width = self.weight.shape
        [rank] = ranks
        first, last = singular_factors(self._matrix, rank)
        weights = (
            first.T.reshape(rank, inputs, height, 1),
            last.reshape(rank, outputs, 1, width).transpose(0, 1),
        )
        return Factors(weights, float(1 - self.spectrum.tails[rank]))

    @property
    def _matrix(self) -> Tensor:
        return self.weight.permute(1, 2, 0, 3).flatten(2).flatten(0, 1)


def _along(layer: Layer, axis: int) -> dict[str, tuple[int, ...]]:
    """Return the geometry of ``layer`` along one axis, and of a single tap along the other."""

    def keep(name: str, other: int) -> tuple[int, ...]:
        return tuple(size if index == axis else other for index, size in enumerate(getattr(layer, name)))

    geometry = {name: keep(name, 1) for name in ("kernel_size", "stride", "dilation")}
    # "same" and "valid" mean the same for each axis by itself.
    is_named = isinstance(cast(nn.Conv2d, layer).padding, str)
    return geometry if is_named else {**geometry, "padding": keep("padding", 0)}
