"""Networks and checkpoints: ``build("resnet20", (3, 32, 32), num_classes=10)``."""

from edgekd.models.build import build, code_of
from edgekd.models.checkpoint import Checkpoint, load_checkpoint
from edgekd.models.registry import MODELS
from edgekd.models.size import count_macs, count_parameters

__all__ = ["MODELS", "Checkpoint", "build", "code_of", "count_macs", "count_parameters", "load_checkpoint"]
