"""Low-rank factorisation: ``factorize(network, (3, 32, 32), macs=0.5)``."""

from typing import TYPE_CHECKING

from edgekd.lazy import exporter

if TYPE_CHECKING:
    from edgekd.factorize.decomposition import Decomposition as Decomposition
    from edgekd.factorize.factorization import Factorized as Factorized
    from edgekd.factorize.factorization import FactorizedLayer as FactorizedLayer
    from edgekd.factorize.factorization import factorize as factorize
    from edgekd.factorize.factorization import must_reach as must_reach
    from edgekd.factorize.layers import WholeLayer as WholeLayer
    from edgekd.factorize.plan import apply_plan as apply_plan
    from edgekd.factorize.registry import DECOMPOSITIONS as DECOMPOSITIONS

# Recipes look up the names in this room's registries, and import no PyTorch.
__getattr__ = exporter(
    __name__,
    {
        "decomposition": ("Decomposition",),
        "factorization": ("Factorized", "FactorizedLayer", "factorize", "must_reach"),
        "layers": ("WholeLayer",),
        "plan": ("apply_plan",),
        "registry": ("DECOMPOSITIONS",),
    },
)
