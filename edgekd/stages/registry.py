"""The stages that a recipe may name."""

from edgekd.stages.distill.options import Distill
from edgekd.stages.factorize.options import Factorize
from edgekd.stages.prune.options import Prune
from edgekd.stages.quantize.options import Quantize
from edgekd.stages.stage import Stage

STAGES: dict[str, type[Stage]] = {stage.name: stage for stage in (Distill, Factorize, Prune, Quantize)}
