"""Structured pruning: ``prune(network, (3, 32, 32), macs=0.5)`` gives the network and its channel plan."""

from edgekd.prune.budget import Pruned, prune
from edgekd.prune.plan import apply_plan, widths
from edgekd.prune.registry import IMPORTANCES

__all__ = ["IMPORTANCES", "Pruned", "apply_plan", "prune", "widths"]
