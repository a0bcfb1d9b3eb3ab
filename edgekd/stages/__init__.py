"""Stages of a recipe, each with its options, order, checks and work."""

from edgekd.stages.distill.options import Distill
from edgekd.stages.order import first_misplaced
from edgekd.stages.prune.options import Prune
from edgekd.stages.quantize.options import Quantize
from edgekd.stages.registry import STAGES
from edgekd.stages.stage import Stage

__all__ = ["STAGES", "Distill", "Prune", "Quantize", "Stage", "first_misplaced"]
