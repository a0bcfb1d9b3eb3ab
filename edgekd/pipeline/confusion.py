"""Class by class, the teacher's predictions against the student's: how many stayed correct, which mistakes grew."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from edgekd.report.schema import ByClass, ClassCounts, Confusion
from edgekd.tasks.classification.score import correct_by_class, grown_confusions

Numbers = NDArray[Any]

# One sample more is nothing that a report should point at.
LEAST_GROWTH = 2


class NamedPredictions(NamedTuple):
    """(N,) classes that ``model`` predicted, by their number."""

    model: str
    classes: Numbers


def by_class(
    labels: Numbers, before: NamedPredictions, after: NamedPredictions, names: Sequence[str], runtime: str
) -> ByClass:
    """Count what two networks predict on the same samples, class by class.

    Args:
        labels: (N,) true classes, by their number.
        before, after: predictions on the same samples in the same order.
        names: of the classes, by their number.
        runtime: that both ran in.

    Returns:
        All classes, and the at most ten mistakes that grew by :data:`LEAST_GROWTH` samples or
        more, those that grew most first.
    """
    counts, *correct = (correct_by_class(each, labels, len(names)) for each in (labels, before.classes, after.classes))
    return ByClass(
        before=before.model,
        after=after.model,
        runtime=runtime,
        classes=tuple(
            ClassCounts(name=name, n=n, right_before=was, right_after=now)
            for name, n, was, now in zip(names, counts, *correct, strict=True)
        ),
        confusions=tuple(
            Confusion(label=names[label], answered=names[predicted], before=was, after=now)
            for label, predicted, was, now in grown_confusions(labels, before.classes, after.classes, LEAST_GROWTH)
        ),
        least_growth=LEAST_GROWTH,
    )
