"""The registry of decompositions, whose names are known without PyTorch: recipes are read without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekd.errors import ModelError
from edgekd.registry import Registry

if TYPE_CHECKING:
    from edgekd.factorize.decomposition import Decomposition


DECOMPOSITIONS: Registry[type[Decomposition]] = Registry("factorisation method", ModelError)


@DECOMPOSITIONS.late("svd")
def _svd() -> type[Decomposition]:
    from edgekd.factorize.svd import TruncatedSVD

    return TruncatedSVD


@DECOMPOSITIONS.late("tucker")
def _tucker() -> type[Decomposition]:
    from edgekd.factorize.tucker import Tucker2

    return Tucker2


@DECOMPOSITIONS.late("spatial")
def _spatial() -> type[Decomposition]:
    from edgekd.factorize.spatial import SpatialSVD

    return SpatialSVD
