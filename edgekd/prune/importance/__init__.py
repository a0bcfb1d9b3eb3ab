"""Importances of channels: ``build_importance("taylor")(group)``; one file per method."""

from edgekd.prune.importance.bn_scale import BNScale
from edgekd.prune.importance.filter_norm import L1, L2
from edgekd.prune.importance.fisher import Fisher
from edgekd.prune.importance.fpgm import FPGM
from edgekd.prune.importance.gradients import collect_gradients
from edgekd.prune.importance.group import GroupImportance, build_importance
from edgekd.prune.importance.group_magnitude import GroupMagnitude
from edgekd.prune.importance.lamp import LAMP, lamp
from edgekd.prune.importance.random import Random
from edgekd.prune.importance.taylor import Taylor
from edgekd.prune.scope import normalised, topology

__all__ = [
    "FPGM",
    "L1",
    "L2",
    "LAMP",
    "BNScale",
    "Fisher",
    "GroupImportance",
    "GroupMagnitude",
    "Random",
    "Taylor",
    "build_importance",
    "collect_gradients",
    "lamp",
    "normalised",
    "topology",
]
