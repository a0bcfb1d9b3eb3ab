"""Knowledge distillation: losses by which a student learns from a teacher."""

from typing import TYPE_CHECKING

from edgekd.lazy import exporter

if TYPE_CHECKING:
    from edgekd.distill.build import LossSpec, build_terms
    from edgekd.distill.ensemble import Ensemble
    from edgekd.distill.feature_hooks import FeatureHooks, candidate_layers, feature_shapes, pair_layers
    from edgekd.distill.fusion import fuse_teacher
    from edgekd.distill.losses import (
        AT,
        CRD,
        DIST,
        DKD,
        KD,
        LOSSES,
        PKD,
        PKT,
        RKD,
        SP,
        FitNet,
        ReviewKD,
        at_loss,
        dist_loss,
        dkd_loss,
        fitnet_loss,
        hcl_loss,
        kd_loss,
        pkd_loss,
        pkt_loss,
        rkd_angle_loss,
        rkd_distance_loss,
        sp_loss,
    )
    from edgekd.distill.objective import Distillation, Term
    from edgekd.distill.registry import FeatureLoss, LogitLoss
    from edgekd.distill.schedule import Schedule
    from edgekd.distill.standardize import Standardized, standardize

__all__ = [
    "AT",
    "CRD",
    "DIST",
    "DKD",
    "KD",
    "LOSSES",
    "PKD",
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
    "fuse_teacher",
    "hcl_loss",
    "kd_loss",
    "pair_layers",
    "pkd_loss",
    "pkt_loss",
    "rkd_angle_loss",
    "rkd_distance_loss",
    "sp_loss",
    "standardize",
]

# Recipes import what can be named in them from here, and no PyTorch.
__getattr__ = exporter(
    __name__,
    {
        "build": ("LossSpec", "build_terms"),
        "ensemble": ("Ensemble",),
        "feature_hooks": ("FeatureHooks", "candidate_layers", "feature_shapes", "pair_layers"),
        "fusion": ("fuse_teacher",),
        "losses": (
            "AT",
            "CRD",
            "DIST",
            "DKD",
            "FitNet",
            "KD",
            "LOSSES",
            "PKD",
            "PKT",
            "RKD",
            "ReviewKD",
            "SP",
            "at_loss",
            "dist_loss",
            "dkd_loss",
            "fitnet_loss",
            "hcl_loss",
            "kd_loss",
            "pkd_loss",
            "pkt_loss",
            "rkd_angle_loss",
            "rkd_distance_loss",
            "sp_loss",
        ),
        "objective": ("Distillation", "Term"),
        "registry": ("FeatureLoss", "LogitLoss"),
        "schedule": ("Schedule",),
        "standardize": ("Standardized", "standardize"),
    },
)
