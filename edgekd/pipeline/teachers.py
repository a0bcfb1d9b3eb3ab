"""The teachers of a run, which predict as one, and what they predict on the test set."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from torch import nn

from edgekd.artifact_cache import METRICS
from edgekd.data import DataSet
from edgekd.distill.combination import Space
from edgekd.distill.ensemble import Ensemble
from edgekd.files import canonical_json, sha256, write_json
from edgekd.log import get_logger
from edgekd.models import count_macs, count_parameters
from edgekd.pipeline.evaluate import PYTORCH, VERSION, fitted, save_array
from edgekd.pipeline.evaluation import Evaluation
from edgekd.pipeline.node import Node
from edgekd.pipeline.stage_result import StageResult
from edgekd.spec import Spec
from edgekd.stages.network import restore
from edgekd.train import outputs_of, predictions_of

logger = get_logger(__name__)

ENSEMBLE = "ensemble"


@dataclass(frozen=True)
class Teachers:
    """Finished teachers. The first is the one that the recipe compresses and that reports and budgets compare with."""

    members: tuple[StageResult, ...]
    combine: str = "mean"
    weights: Sequence[float] | None = None
    space: Space = "probabilities"

    @cached_property
    def content(self) -> str:
        """Hash the networks and how they predict as one; for a single teacher, its network alone."""
        if len(self.members) == 1:
            return self.members[0].content
        return sha256(canonical_json([[each.content for each in self.members], self.combine, self.weights]))

    @property
    def first(self) -> "Teachers":
        return Teachers(self.members[:1])

    @property
    def specs(self) -> tuple[Spec, ...]:
        return tuple(each.artifact.spec for each in self.members)

    def network(self) -> nn.Module:
        networks = [restore(each.artifact) for each in self.members]
        return networks[0] if len(networks) == 1 else Ensemble(networks, self.weights, self.combine, self.space)


@dataclass(frozen=True)
class EnsembleEvaluation:
    """What an ensemble predicts on the test set; nothing of it is deployed, so it has no file and no latency."""

    folder: Path

    @cached_property
    def evaluation(self) -> Evaluation:
        return Evaluation((), "float32", **json.loads((self.folder / METRICS).read_text()))


@dataclass(frozen=True)
class EnsembleNode(Node[EnsembleEvaluation]):
    """What several teachers predict as one for the test set."""

    teachers: Teachers
    data: DataSet

    within: ClassVar[str] = "exports"
    name: ClassVar[str] = f"00-{ENSEMBLE}"

    @cached_property
    def key(self) -> str:
        return sha256(canonical_json([ENSEMBLE, VERSION, self.teachers.content, self.data.decoded_fingerprint]))

    def fill(self, folder: Path, workplace: Path) -> None:
        logger.info(f"  {ENSEMBLE}: evaluation")
        network, data = self.teachers.network(), self.data
        save_array(folder / PYTORCH, predictions_of(network, data, data.test).numpy())
        counts = {"params": count_parameters(network), "macs": count_macs(network, self.teachers.specs[0].inputs)}
        decoder = fitted(data, lambda: outputs_of(network, data, data.validation)).decoder()
        write_json(folder / METRICS, {"n": len(data.test), **counts, **({"decoder": decoder} if decoder else {})})

    def read(self, folder: Path) -> EnsembleEvaluation:
        return EnsembleEvaluation(folder)
