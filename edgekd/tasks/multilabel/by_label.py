"""Label by label: the average precision of two networks on the same test samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgekd.formatting import Column, exceeds, percent, points
from edgekd.tasks.breakdown import (
    NAMED,
    GroupChange,
    LostGroup,
    NamedPredictions,
    Panel,
    PanelTable,
    ReportPart,
    ends,
    lost_and_gained,
    said,
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
        known = [
            (each, GroupChange(each.name, each.precision_before, each.precision_after))
            for each in self.labels
            if each.precision_before is not None and each.precision_after is not None
        ]
        return sorted(known, key=lambda each: each[1].after - each[1].before)

    def lost(self) -> list[LostGroup]:
        return [
            LostGroup(
                "label_lost",
                f"{self.after} has an average precision of {change.after:.1%} for label {label.name!r} and the "
                f"{self.before} {change.before:.1%}, on {label.n} test samples that have it",
                change,
            )
            for label, change in self.changed
            if exceeds(100 * (change.before - change.after), MOST_LOST)
        ]

    def panel(self) -> Panel:
        shown = ends(self.changed)
        columns = [
            Column("Label", lambda each: each[0].name, number=False),
            Column(self.before, lambda each: percent(each[1].before)),
            Column(self.after, lambda each: percent(each[1].after)),
            Column("Change", lambda each: points(100 * (each[1].after - each[1].before))),
            Column("Samples with it", lambda each: str(each[0].n)),
        ]
        return Panel(
            name="labels",
            heading="Label by label",
            sentences=said(self._sentence(), len(shown), len(self.labels), self.runtime),
            picture="Average precision label by label",
            axis="average precision in %",
            before=self.before,
            after=self.after,
            groups=[change for _, change in shown],
            table=PanelTable("Average precision of each label", columns, shown),
            further=(),
            short=self._short(),
        )

    def _sentence(self) -> str:
        changes = [change.after - change.before for _, change in self.changed]
        return lost_and_gained(changes, "labels", "average precision", self.before, self.after)

    def _short(self) -> str:
        lost = [change for _, change in self.changed if change.after < change.before][:NAMED]
        named = [f"{each.name}, {percent(each.before)} → {percent(each.after)}" for each in lost]
        return " ".join([self._sentence(), *([f"Most lost: {'; '.join(named)}."] if named else [])])


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
