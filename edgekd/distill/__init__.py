"""Carrying a teacher's knowledge over to a student."""

from edgekd.distill.losses.kd import KD, kd_loss
from edgekd.distill.objective import Distillation
from edgekd.distill.registry import LOSSES

__all__ = ["KD", "LOSSES", "Distillation", "kd_loss"]
