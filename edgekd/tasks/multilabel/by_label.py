"""Label by label: the average precision of two networks on the same test samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgekd.formatting import Column
from edgekd.tasks.breakdown import (
    GroupChange,
    LostGroup,
    NamedPredictions,
    Panel,
    ReportPart,
    changes,
    lost_more,
    panel_of_shares,
)
from edgekd.tasks.multilabel.evidence import average_precision

# Points of average precision that a label may lose before it is named in a warning.
MOST_LOST = 3

Share = Annotated[float, Field(ge=0, le=1)]


class LabelPrecision(ReportPart):
    """One label: the ``n`` test samples that are known to have it, and its average precision before and after.

    The precisions are None where no sample has the label.
    """

    name: str
    n: Annotated[int, Field(ge=0)]
    precision_before: Share | None = None
    precision_after: Share | None = None


class ByLabel(ReportPart):
    """The average precision of the networks ``before`` and ``after`` in ``runtime``, label by label."""

    before: str
    after: str
    runtime: str
    labels: tuple[LabelPrecision, ...]

    @property
    def changed(self) -> list[tuple[LabelPrecision, GroupChange]]:
        """Return the labels that samples have, the most lost first."""
        return changes(self.labels, lambda each: (each.precision_before, each.precision_after))

    def lost(self) -> list[LostGroup]:
        return [
            LostGroup(
                "label_lost",
                f"{self.after} has an average precision of {change.after:.1%} for label {label.name!r} and the "
                f"{self.before} {change.before:.1%}, on {label.n} test samples that have it",
                change,
            )
            for label, change in lost_more(self.changed, MOST_LOST)
        ]

    def panel(self) -> Panel:
        return panel_of_shares(
            self,
            self.changed,
            group="label",
            groups="labels",
            metric="average precision",
            axis="average precision in %",
            count=Column("Samples with it", lambda each: str(each.n)),
        )


def by_label(
    before: NamedPredictions, after: NamedPredictions, targets: Mapping[str, NDArray[Any]], names: Sequence[str],
    runtime: str,
) -> ByLabel:  # fmt: skip
    """Return the average precision of each label for two networks' predictions of the same samples in the same order.

    Args:
        targets: ``labels`` (N, labels) and, optionally, ``known``.
        names: of the labels, in the order of outputs.
        runtime: that both ran in.
    """
    was, now = (_precisions(each, targets) for each in (before, after))
    counts = average_precision(before.predictions, targets).labels.sum(0).tolist()
    return ByLabel(
        before=before.network,
        after=after.network,
        runtime=runtime,
        labels=tuple(
            LabelPrecision(name=name, n=n, precision_before=first, precision_after=second)
            for name, n, first, second in zip(names, counts, was, now, strict=True)
        ),
    )


def _precisions(named: NamedPredictions, targets: Mapping[str, NDArray[Any]]) -> list[float | None]:
    evidence = average_precision(named.predictions, targets)
    found = evidence.by_label(np.ones((1, evidence.n)))[:, 0].tolist()
    return [None if value != value else value for value in found]
