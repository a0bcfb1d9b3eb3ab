"""The task's metrics of predictions on the test set, with what later comparisons in pairs need of each sample."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgekd.artifact_cache import METRICS
from edgekd.data import DataSet
from edgekd.files import canonical_json, sha256, sha256_file, write_json
from edgekd.pipeline.node import Node, NodeCache
from edgekd.pipeline.outputs import source_digest
from edgekd.stats.correct import encode_correct
from edgekd.tasks.compare import interval
from edgekd.tasks.evidence_file import EvidenceFile, compared_by_file, write_evidence
from edgekd.tasks.metric import Correct, Evidence, Metric, evidence_for
from edgekd.tasks.own_code import code_of
from edgekd.tasks.task import Task

EVIDENCE = "evidence.npz"


@dataclass(frozen=True)
class Scores:
    """The metrics of predictions.

    Attributes:
        values, intervals: by their keys in rows; intervals are of 95 %.
        n: the number of samples.
        right: a bit for each sample, where samples are right or wrong.
        evidence: what else is needed of each sample, in a file of the run.
    """

    values: Mapping[str, float]
    intervals: Mapping[str, Sequence[float]]
    n: int
    right: str | None = None
    evidence: EvidenceFile | None = None

    @classmethod
    def of(cls, evidence: Mapping[str, Evidence], metrics: Sequence[Metric]) -> "Scores":
        """Compute metrics from the evidence for each.

        All but the first are left out where samples have no figure of them, as R² of targets that never differ.
        """
        every = {metric: evidence[metric.name].value() for metric in metrics}
        known = {metric: value for metric, value in every.items() if metric is metrics[0] or not math.isnan(value)}
        values = {metric.name: value for metric, value in known.items()}
        intervals = {metric.interval_key: interval(metric, evidence[metric.name]) for metric in known}
        right = next((encode_correct(each.correct) for each in evidence.values() if isinstance(each, Correct)), None)
        return cls(values, intervals, evidence[metrics[0].name].n, right)

    def to_json(self) -> dict[str, Any]:
        """Return these entries of a report's row."""
        return {**self.values, **self.intervals, "n": self.n, "right": self.right, "evidence": self.evidence}


def scores(predictions: Path, task: Task, data: DataSet, nodes: NodeCache) -> Scores:
    """Return the scores of predictions, a .npy of rows as :meth:`Task.to_rows` gives them.

    Evidence in a file is kept by ``nodes``, with the scores.
    """
    if compared_by_file(task.metrics):
        return nodes.make(ScoresNode(predictions, task, data, nodes.folder))
    return Scores.of(_evidence(predictions, task, data), task.metrics)


@dataclass(frozen=True)
class ScoresNode(Node[Scores]):
    """The scores of one file of predictions, whose intervals take seconds to draw."""

    predictions: Path
    task: Task
    data: DataSet
    run: Path

    within: ClassVar[str] = "measurements"
    name: ClassVar[str] = "scores"

    @cached_property
    def key(self) -> str:
        # Scores take seconds, so that edgekd's own code counts too: a task in its folder may be the user's.
        code = [source_digest(), code_of(type(self.task))]
        about = ["scores", *code, sha256_file(self.predictions), self.task.decoder(), self.data.fingerprint]
        return sha256(canonical_json(about))

    def fill(self, folder: Path, workplace: Path) -> None:
        metrics, evidence = self.task.metrics, _evidence(self.predictions, self.task, self.data)
        write_evidence(folder / EVIDENCE, {each.name: evidence[each.name] for each in compared_by_file(metrics)})
        write_json(folder / METRICS, asdict(Scores.of(evidence, metrics)))

    def read(self, folder: Path) -> Scores:
        file = folder / EVIDENCE
        evidence = EvidenceFile(str(file.relative_to(self.run)), sha256_file(file))
        return replace(Scores(**json.loads((folder / METRICS).read_text())), evidence=evidence)


def _evidence(predictions: Path, task: Task, data: DataSet) -> dict[str, Evidence]:
    decoded, targets = task.from_rows(np.load(predictions)), task.targets(data.test.labels.numpy())
    return evidence_for(task.metrics, decoded, targets)
