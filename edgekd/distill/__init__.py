"""Knowledge distillation: losses by which a student learns from a teacher."""

from edgekd.distill.build import LossSpec, build_terms
from edgekd.distill.ensemble import Ensemble
from edgekd.distill.feature_hooks import FeatureHooks, candidate_layers, feature_shapes, pair_layers
from edgekd.distill.losses.at import AT, at_loss
from edgekd.distill.losses.crd import CRD
from edgekd.distill.losses.dist import DIST, dist_loss
from edgekd.distill.losses.dkd import DKD, dkd_loss
from edgekd.distill.losses.fitnet import FitNet, fitnet_loss
from edgekd.distill.losses.kd import KD, kd_loss
from edgekd.distill.losses.pkt import PKT, pkt_loss
from edgekd.distill.losses.reviewkd import ReviewKD, hcl_loss
from edgekd.distill.losses.rkd import RKD, rkd_angle_loss, rkd_distance_loss
from edgekd.distill.losses.sp import SP, sp_loss
from edgekd.distill.objective import Distillation, Term
from edgekd.distill.registry import LOSSES, FeatureLoss, LogitLoss
from edgekd.distill.schedule import Schedule
from edgekd.distill.standardize import Standardized, standardize

__all__ = [
    "AT",
    "CRD",
    "DIST",
    "DKD",
    "KD",
    "LOSSES",
    "PKT",
    "RKD",
    "SP",
    "Distillation",
    "Ensemble",
    "FeatureHooks",
    "FeatureLoss",
    "FitNet",
    "LogitLoss",
    "LossSpec",
    "ReviewKD",
    "Schedule",
    "Standardized",
    "Term",
    "at_loss",
    "build_terms",
    "candidate_layers",
    "dist_loss",
    "dkd_loss",
    "feature_shapes",
    "fitnet_loss",
    "hcl_loss",
    "kd_loss",
    "pair_layers",
    "pkt_loss",
    "rkd_angle_loss",
    "rkd_distance_loss",
    "sp_loss",
    "standardize",
]
