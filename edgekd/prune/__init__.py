"""Structured pruning: ``prune(network, (3, 32, 32), macs=0.5)``."""

from typing import TYPE_CHECKING

from edgekd.lazy import exporter

if TYPE_CHECKING:
    from edgekd.prune.budget import Pruned as Pruned
    from edgekd.prune.budget import prune as prune
    from edgekd.prune.clock import Clock as Clock
    from edgekd.prune.depth import cut_depth as cut_depth
    from edgekd.prune.halves import halved_widths as halved_widths
    from edgekd.prune.latency import LatencyTable as LatencyTable
    from edgekd.prune.latency_check import check_latency as check_latency
    from edgekd.prune.latency_target import prune_to_latency as prune_to_latency
    from edgekd.prune.plan import apply_plan as apply_plan
    from edgekd.prune.plan import widths as widths
    from edgekd.prune.prunable import Prunable as Prunable
    from edgekd.prune.reduction import REDUCTIONS as REDUCTIONS
    from edgekd.prune.registry import IMPORTANCES as IMPORTANCES
    from edgekd.prune.scope import SCOPES as SCOPES
    from edgekd.prune.sensitivity import scan as scan
    from edgekd.prune.sparse import GroupNorm as GroupNorm
    from edgekd.prune.weights import sensitivity_weights as sensitivity_weights

# Recipes look up the names in this room's registries, and import no PyTorch.
__getattr__ = exporter(
    __name__,
    {
        "budget": ("Pruned", "prune"),
        "clock": ("Clock",),
        "depth": ("cut_depth",),
        "latency": ("LatencyTable",),
        "latency_check": ("check_latency",),
        "latency_target": ("prune_to_latency",),
        "halves": ("halved_widths",),
        "plan": ("apply_plan", "widths"),
        "prunable": ("Prunable",),
        "reduction": ("REDUCTIONS",),
        "registry": ("IMPORTANCES",),
        "scope": ("SCOPES",),
        "sensitivity": ("scan",),
        "sparse": ("GroupNorm",),
        "weights": ("sensitivity_weights",),
    },
)
