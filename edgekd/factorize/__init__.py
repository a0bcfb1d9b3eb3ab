"""Low-rank factorisation: ``factorize(network, (3, 32, 32), macs=0.5)`` gives the network and its plan of ranks."""

from edgekd.factorize.decomposition import METHODS, Decomposition
from edgekd.factorize.factorize import Factorized, FactorizedLayer, factorize, must_reach
from edgekd.factorize.layers import WholeLayer
from edgekd.factorize.plan import apply_plan

__all__ = [
    "METHODS",
    "Decomposition",
    "Factorized",
    "FactorizedLayer",
    "WholeLayer",
    "apply_plan",
    "factorize",
    "must_reach",
]
