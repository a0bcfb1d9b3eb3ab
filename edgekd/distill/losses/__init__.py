"""Distillation losses; one file per method."""

from edgekd.distill.losses.at import AT, at_loss
from edgekd.distill.losses.crd import CRD
from edgekd.distill.losses.cwd import CWD, cwd_loss
from edgekd.distill.losses.dist import DIST, dist_loss
from edgekd.distill.losses.dkd import DKD, dkd_loss
from edgekd.distill.losses.fitnet import FitNet, fitnet_loss
from edgekd.distill.losses.kd import KD, kd_loss
from edgekd.distill.losses.ld import LD, ld_loss
from edgekd.distill.losses.pkd import PKD, pkd_loss
from edgekd.distill.losses.pkt import PKT, pkt_loss
from edgekd.distill.losses.reviewkd import ReviewKD, hcl_loss
from edgekd.distill.losses.rkd import RKD, rkd_angle_loss, rkd_distance_loss
from edgekd.distill.losses.sp import SP, sp_loss
from edgekd.distill.registry import LOSSES

__all__ = [
    "AT",
    "CRD",
    "CWD",
    "DIST",
    "DKD",
    "KD",
    "LD",
    "LOSSES",
    "PKD",
    "PKT",
    "RKD",
    "SP",
    "FitNet",
    "ReviewKD",
    "at_loss",
    "cwd_loss",
    "dist_loss",
    "dkd_loss",
    "fitnet_loss",
    "hcl_loss",
    "kd_loss",
    "ld_loss",
    "pkd_loss",
    "pkt_loss",
    "rkd_angle_loss",
    "rkd_distance_loss",
    "sp_loss",
]
