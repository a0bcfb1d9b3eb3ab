"""Class by class, what became of the teacher's answers: how many are still right, and which mistakes grew."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgekd.report.schema import ByClass, ClassCounts, Confusion

Numbers = NDArray[Any]

MOST_CONFUSIONS = 10
# One answer more is nothing that a report should point at.
LEAST_GROWTH = 2


class NamedPredictions(NamedTuple):
    """(N,) classes that ``model`` answered, by their number."""

    model: str
    classes: Numbers


def by_class(
    labels: Numbers, before: NamedPredictions, after: NamedPredictions, names: Sequence[str], runtime: str
) -> ByClass:
    """What two networks answer on the same samples, class by class.

    Args:
        labels: (N,) true classes, by their number.
        before, after: answers on the same samples in the same order.
        names: of the classes, by their number.
        runtime: where both were asked.

    Returns:
        All classes, and the at most :data:`MOST_CONFUSIONS` mistakes that grew by :data:`LEAST_GROWTH` samples or
        more, those that grew most first.
    """
    counts, right_before, right_after = (
        np.bincount(chosen, minlength=len(names)).tolist()
        for chosen in (labels, *(labels[each.classes == labels] for each in (before, after)))
    )
    return ByClass(
        before=before.model,
        after=after.model,
        runtime=runtime,
        classes=tuple(
            ClassCounts(name=name, n=n, right_before=was, right_after=now)
            for name, n, was, now in zip(names, counts, right_before, right_after, strict=True)
        ),
        confusions=tuple(
            Confusion(label=names[label], answered=names[answered], before=was, after=now)
            for (label, answered), was, now in _grown(labels, before.classes, after.classes)
        ),
        least_growth=LEAST_GROWTH,
    )


def _grown(labels: Numbers, before: Numbers, after: Numbers) -> list[tuple[tuple[int, int], int, int]]:
    was, now = (_mistakes(labels, answers) for answers in (before, after))
    grown = [(pair, was[pair], now[pair]) for pair in now if now[pair] - was[pair] >= LEAST_GROWTH]
    return sorted(grown, key=lambda each: (each[1] - each[2], -each[2], each[0]))[:MOST_CONFUSIONS]


def _mistakes(labels: Numbers, answers: Numbers) -> Counter[tuple[int, int]]:
    wrong = answers != labels
    return Counter(zip(labels[wrong].tolist(), answers[wrong].tolist(), strict=True))
