"""Training of detectors: needs PyTorch."""

from edgekd.tasks.detection.train.bins import ld_loss as ld_loss
from edgekd.tasks.detection.train.heads import merged as merged
from edgekd.tasks.detection.train.losses import bins_of_both as bins_of_both
from edgekd.tasks.detection.train.losses import detection_loss as detection_loss
from edgekd.tasks.detection.train.losses import distillation_loss as distillation_loss
from edgekd.tasks.detection.train.losses import divergence as divergence
from edgekd.tasks.detection.train.losses import must_be_logits as must_be_logits
from edgekd.tasks.detection.train.losses import must_not_smooth as must_not_smooth
