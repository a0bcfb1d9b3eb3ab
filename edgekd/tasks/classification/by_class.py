"""Class by class: how many test samples two networks predict correctly, and which mistakes grew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from numpy.typing import NDArray
from pydantic import Field

from edgekd.formatting import Column
from edgekd.tasks.breakdown import (
    NAMED,
    GroupChange,
    LostGroup,
    NamedPredictions,
    Panel,
    PanelTable,
    ReportPart,
    panel_of_shares,
)
from edgekd.tasks.classification.score import correct_by_class, grown_confusions, lost_classes

# Points of accuracy that a class may lose before it is named in a warning.
MOST_LOST = 3
# One sample more is nothing that a report should point at.
LEAST_GROWTH = 2

Count = Annotated[int, Field(ge=0)]


class ClassCounts(ReportPart):
    """One class: how many of its ``n`` test samples were classified correctly before and after."""

    name: str
    n: Count
    right_before: Count
    right_after: Count

    @property
    def shares(self) -> GroupChange:
        """Return the shares of the class that were classified correctly; the class has samples."""
        return GroupChange(self.name, self.right_before / self.n, self.right_after / self.n)

    @property
    def change(self) -> float:
        """Return the change of the class's accuracy in points, below 0 for a loss; the class has samples."""
        return 100 * (self.right_after - self.right_before) / self.n


class Confusion(ReportPart):
    """How many test samples of the class ``label`` were predicted as the class ``answered``, before and after."""

    label: str
    answered: str
    before: Count
    after: Count


class ByClass(ReportPart):
    """The predictions of the networks ``before`` and ``after`` in ``runtime``, class by class.

    ``confusions`` are those that grew by ``least_growth`` samples or more, the most grown first, not all of them.
    """

    before: str
    after: str
    runtime: str
    classes: tuple[ClassCounts, ...]
    confusions: tuple[Confusion, ...] = ()
    least_growth: Count = 1

    @property
    def changed(self) -> list[ClassCounts]:
        """Return the classes with samples, the most lost first."""
        return sorted((each for each in self.classes if each.n), key=lambda each: each.change)

    def lost(self) -> list[LostGroup]:
        counts, before, after = (
            [getattr(each, name) for each in self.classes] for name in ("n", "right_before", "right_after")
        )
        found = (self.classes[number] for number in lost_classes(counts, before, after, MOST_LOST))
        return [
            LostGroup(
                "class_lost",
                f"{self.after} predicts {each.right_after / each.n:.1%} of class {each.name!r} correctly and the "
                f"{self.before} {each.right_before / each.n:.1%}, on {each.n} test samples",
                each.shares,
            )
            for each in found
        ]

    def panel(self) -> Panel:
        changed = self.changed
        panel = panel_of_shares(
            self,
            [(each, each.shares) for each in changed],
            group="class",
            groups="classes",
            metric="accuracy",
            axis="test samples classified correctly in %",
            count=Column("Samples", lambda each: str(each.n)),
            further=[self._grown()],
        )
        return replace(panel, short=self._short(panel.sentences[0], changed))

    def _short(self, sentence: str, changed: Sequence[ClassCounts]) -> str:
        lost = [each for each in changed if each.change < 0][:NAMED]
        named = [f"{each.name}, {each.right_before} → {each.right_after} correct of {each.n}" for each in lost]
        grown = [f"{each.label} as {each.answered}, {each.before} → {each.after}" for each in self.confusions[:NAMED]]
        found = [sentence]
        found += [f"Most lost: {'; '.join(named)}."] if named else []
        found += [f"Confusions that grew: {'; '.join(grown)}."] if grown else []
        return " ".join(found)

    def _grown(self) -> PanelTable:
        least = f"{self.least_growth} samples or more"
        columns = [
            Column("Class", lambda each: each.label, number=False),
            Column("Predicted as", lambda each: each.answered, number=False),
            Column(self.before, lambda each: str(each.before)),
            Column(self.after, lambda each: str(each.after)),
            Column("More", lambda each: f"+{each.after - each.before}"),
        ]
        return PanelTable(
            "Confusions that grew",
            columns,
            self.confusions,
            keys=2,
            note=f"Test samples of a class that were predicted as another one; those that grew most, by {least}.",
            instead=f"No confusion grew by {least}.",
        )


def by_class(
    before: NamedPredictions, after: NamedPredictions, targets: Mapping[str, NDArray[Any]], names: Sequence[str],
    runtime: str,
) -> ByClass:  # fmt: skip
    """Count what two networks predict on the same samples, class by class.

    Args:
        before, after: predictions of the samples in the same order.
        targets: ``classes`` (N,), all known.
        names: of the classes, by their number.
        runtime: that both ran in.

    Returns:
        All classes, and the at most ten mistakes that grew by :data:`LEAST_GROWTH` samples or more, those that grew
        most first.
    """
    labels, predicted = targets["classes"], (*names, "no class")  # to which NO_CLASS, -1, leads
    was, now = (each.predictions.classes for each in (before, after))
    counts, *correct = (correct_by_class(each, labels, len(names)) for each in (labels, was, now))
    return ByClass(
        before=before.network,
        after=after.network,
        runtime=runtime,
        classes=tuple(
            ClassCounts(name=name, n=n, right_before=first, right_after=second)
            for name, n, first, second in zip(names, counts, *correct, strict=True)
        ),
        confusions=tuple(
            Confusion(
                label=names[each.target], answered=predicted[each.predicted], before=each.before, after=each.after
            )
            for each in grown_confusions(labels, was, now, LEAST_GROWTH)
        ),
        least_growth=LEAST_GROWTH,
    )
