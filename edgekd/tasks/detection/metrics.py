"""The metrics of boxes, which share the matches of boxes; their code is imported when they are computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekd.tasks.metric import Evidence, Metric, SharedEvidence

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekd.tasks.detection.decode import DetectedBoxes
    from edgekd.tasks.detection.matching import Matches
    from edgekd.tasks.task import Arrays


def _matches(predictions: DetectedBoxes, targets: Arrays) -> Matches:
    from edgekd.tasks.detection import matching

    return matching.matches(predictions, targets)


def _average_precision(found: Matches) -> Evidence:
    from edgekd.tasks.detection import evidence

    return evidence.average_precision(found)


def _average_precision_50(found: Matches) -> Evidence:
    from edgekd.tasks.detection import evidence

    return evidence.average_precision_50(found)


def _average_recall(found: Matches) -> Evidence:
    from edgekd.tasks.detection import evidence

    return evidence.average_recall(found)


def _operating_point(found: Matches) -> Evidence:
    from edgekd.tasks.detection import operating_point

    return operating_point.operating_point(found)


def _ap_type() -> type[Evidence]:
    from edgekd.tasks.detection.evidence import BoxPrecision

    return BoxPrecision


def _ap50_type() -> type[Evidence]:
    from edgekd.tasks.detection.evidence import BoxPrecision50

    return BoxPrecision50


def _recall_type() -> type[Evidence]:
    from edgekd.tasks.detection.evidence import BoxRecall

    return BoxRecall


def _point_type() -> type[Evidence]:
    from edgekd.tasks.detection.operating_point import OperatingPoint

    return OperatingPoint


def _metric(
    name: str, title: str, evidence: Callable[[Matches], Evidence], evidence_type: Callable[[], type[Evidence]]
) -> Metric:
    return Metric(name, title, "%", "higher", "bootstrap", SharedEvidence(_matches, evidence), evidence_type)


METRICS = (
    _metric("box_map", "box mAP", _average_precision, _ap_type),
    _metric("box_map50", "box mAP50", _average_precision_50, _ap50_type),
    _metric("box_recall", "box recall", _average_recall, _recall_type),
    _metric("box_f1", "F1 at the threshold", _operating_point, _point_type),
)
