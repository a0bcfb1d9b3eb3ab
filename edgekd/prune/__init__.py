"""Structured pruning: ``prune(network, (3, 32, 32), macs=0.5)`` gives the network and its channel plan."""

from edgekd.prune.budget import Pruned, prune
from edgekd.prune.clock import Clock
from edgekd.prune.depth import cut_depth
from edgekd.prune.latency import LatencyTable
from edgekd.prune.latency_check import check_latency
from edgekd.prune.latency_target import prune_to_latency
from edgekd.prune.plan import apply_plan, widths
from edgekd.prune.prunable import Prunable
from edgekd.prune.registry import IMPORTANCES
from edgekd.prune.sensitivity import scan
from edgekd.prune.sparse import GroupNorm
from edgekd.prune.weights import sensitivity_weights

__all__ = [
    "IMPORTANCES",
    "Clock",
    "GroupNorm",
    "LatencyTable",
    "Prunable",
    "Pruned",
    "apply_plan",
    "check_latency",
    "cut_depth",
    "prune",
    "prune_to_latency",
    "scan",
    "sensitivity_weights",
    "widths",
]
