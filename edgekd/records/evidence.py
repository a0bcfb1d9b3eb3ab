"""What a row of a report or a baseline keeps of each test sample, so that two networks can be compared in pairs."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgekd.stats.correct import decode_correct
from edgekd.strict_json import build_record
from edgekd.tasks.evidence_file import EvidenceFile, compared_by_file, read_evidence
from edgekd.tasks.metric import Correct, Evidence, Metric

# How to get a file that is missing or another one.
WITH_REPORT = "give the run's whole folder, or run the recipe again"
WITH_BASELINE = "commit the baseline's folder of files with it, or promote the baseline again"


def kept_evidence(
    row: Mapping[str, Any], metrics: Iterable[Metric], folder: Path | None, advice: str
) -> dict[str, Evidence]:
    """Return the evidence that ``row`` keeps, by metric, without those of which it keeps none.

    Args:
        row: its ``right``, ``n`` and ``evidence``, of the shape that was checked.
        folder: of the report or the baseline; without it, evidence in files is left out.
        advice: how to get a file that is missing or another one.

    Raises:
        DataError: the file is not as the row says, or holds no evidence of these metrics.
    """
    metrics = list(metrics)
    in_file = compared_by_file(metrics)
    right = decode_correct(row.get("right"), row.get("n"))
    found: dict[str, Evidence] = {}
    if right:
        found |= {metric.name: Correct(right) for metric in metrics if metric not in in_file}
    if in_file and folder is not None and row.get("evidence") is not None:
        found |= read_evidence(folder, build_record(EvidenceFile, row["evidence"]), in_file, advice)
    return found
