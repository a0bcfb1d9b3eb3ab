"""A metric class by class, or label by label, for two networks on the same samples: what a report keeps and shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import Self

from edgekd.formatting import Column, exceeds, percent, points
from edgekd.strict_json import JsonObject

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    # From numbers of samples to their images (C, H, W) as the network sees them, before their scaling.
    Pictures = Callable[[Sequence[int]], Sequence[NDArray[np.uint8]]]

# What is true, a prediction that is right, and one that is wrong: colours of Okabe and Ito (2008), which the
# colour-blind tell apart.
TRUE, HIT, MISS = "#f0e442", "#56b4e9", "#d55e00"

# A picture in a report, whose size is bounded.
Base64 = Annotated[str, Field(pattern="^[A-Za-z0-9+/]*=*$", max_length=1 << 18)]

# More groups than these are shown by their ends alone.
ALL_UP_TO = 15
MOST_LOST, MOST_GAINED = 10, 3
# So many are named in a short text.
NAMED = 3


class NamedPredictions(NamedTuple):
    """The predictions of ``network``, as the task's :meth:`edgekd.tasks.task.Task.decode` gives them."""

    network: str
    predictions: Any


class GroupChange(NamedTuple):
    """A class or a label with the share of it, in [0, 1], before and after; or a value with its error, as ``show``."""

    name: str
    before: float
    after: float
    better: Literal["higher", "lower"] = "higher"
    show: Callable[[float], str] = percent

    @property
    def gain(self) -> float:
        """Return how much better it is after, below 0 where it is worse."""
        return self.after - self.before if self.better == "higher" else self.before - self.after


class LostGroup(NamedTuple):
    """A class or a label that the second network predicts much worse: a ``code`` for machines, a message for people."""

    code: str
    message: str
    change: GroupChange


@dataclass(frozen=True)
class PanelTable:
    """A table; the first ``keys`` columns name its rows. ``note`` is shown above it, ``instead`` where it is empty."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Any]
    keys: int = 1
    note: str = ""
    instead: str = ""


class PanelCurves(NamedTuple):
    """A picture of two curves over shares ``x``: of the networks before and after, shares as well.

    Attributes:
        across, along: the axes.
    """

    title: str
    across: str
    along: str
    x: Sequence[float]
    before: Sequence[float]
    after: Sequence[float]


class Shot(NamedTuple):
    """A small picture, a PNG in base64, with its caption.

    Attributes:
        photo: a JPEG in base64 to lie under it.
        fills: whether the PNG hides all of the photograph unless it is made to shine through.
    """

    png: str
    caption: str
    photo: str | None = None
    fills: bool = False


@dataclass(frozen=True)
class Panel:
    """A part of a report's page.

    Attributes:
        name: of the part in links.
        sentences: above the picture; the first says the most in short.
        picture: its title; it shows ``groups`` before and after, along ``axis``.
        table: next to the picture; ``further`` are below.
        short: the whole in a line or two, for a pull request.
        curves: a second picture.
        shots: small pictures below the tables, in rows of three, such as of predictions before and after.
        legend: above them, with ``colours`` such as ``("#56b4e9", "hits")``.
    """

    name: str
    heading: str
    sentences: Sequence[str]
    picture: str
    axis: str
    before: str
    after: str
    groups: Sequence[GroupChange]
    table: PanelTable
    further: Sequence[PanelTable]
    short: str
    curves: PanelCurves | None = None
    shots: Sequence[Shot] = ()
    legend: str = ""
    colours: Sequence[tuple[str, str]] = ()


class Breakdown(Protocol):
    """The metric of each class or label for two networks."""

    def to_json(self) -> JsonObject:
        """Return what a report keeps of it."""

    def lost(self) -> list[LostGroup]:
        """Return the classes or labels that the second network predicts much worse than the first."""

    def panel(self) -> Panel:
        """Return what a report's page shows of it."""


class ReportPart(BaseModel):
    """A frozen part of a report, without NaN, which keeps fields that a newer edgekd may have added."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    @classmethod
    def from_json(cls, document: JsonObject) -> Self:
        return cls.model_validate(document)

    def to_json(self) -> JsonObject:
        return self.model_dump(mode="json", exclude_none=True)


class Named(Protocol):
    """A class or a label as a report keeps it."""

    @property
    def name(self) -> str: ...


Group = TypeVar("Group", bound=Named)


class Compared(Protocol):
    """A breakdown of the networks ``before`` and ``after``, which both ran in ``runtime``."""

    @property
    def before(self) -> str: ...

    @property
    def after(self) -> str: ...

    @property
    def runtime(self) -> str: ...


def changes(
    groups: Iterable[Group], shares: Callable[[Group], tuple[float | None, float | None]]
) -> list[tuple[Group, GroupChange]]:
    """Return the ``groups`` that have a share before and after, each with its change, the most lost first."""
    known = [
        (each, GroupChange(each.name, before, after))
        for each in groups
        for before, after in [shares(each)]
        if before is not None and after is not None
    ]
    return sorted(known, key=lambda each: each[1].gain)


def lost_more(changed: Iterable[tuple[Group, GroupChange]], most: float) -> list[tuple[Group, GroupChange]]:
    """Return the groups whose share fell by more than ``most`` points."""
    return [each for each in changed if exceeds(-100 * each[1].gain, most)]


def panel_of_shares(
    compared: Compared,
    changed: Sequence[tuple[Named, GroupChange]],
    *,
    group: str,
    groups: str,
    metric: str,
    axis: str,
    count: Column,
    further: Sequence[PanelTable] = (),
    curves: PanelCurves | None = None,
    shots: Sequence[Shot] = (),
    legend: str = "",
    colours: Sequence[tuple[str, str]] = (),
) -> Panel:
    """Return the panel of a metric that is a share of each class or label.

    Args:
        changed: each group and its change, the most lost first; the ends of many are shown.
        group, groups: such as ``class`` and ``classes``.
        metric: such as ``average precision``; ``axis`` is how the picture calls it.
        count: the table's last column, of how much test data a group has. It takes the group.
    """
    shown = ends(changed)
    lost, gained = (sum(sign * change.gain > 0 for _, change in changed) for sign in (-1, 1))
    sentence = (
        f"Of {len(changed)} {groups} {lost} lost {metric} from {compared.before} to {compared.after} and {gained} "
        "gained."
    )
    some = ["Shown are those that lost most and the few that gained most."] if len(shown) < len(changed) else []
    most = [change for _, change in changed if change.gain < 0][:NAMED]
    named = "; ".join(f"{each.name}, {percent(each.before)} → {percent(each.after)}" for each in most)
    title = metric[0].upper() + metric[1:]
    columns = [
        Column(group.capitalize(), lambda each: each[0].name, number=False),
        Column(compared.before, lambda each: percent(each[1].before)),
        Column(compared.after, lambda each: percent(each[1].after)),
        Column("Change", lambda each: points(100 * each[1].gain)),
        Column(count.heading, lambda each: count.cell(each[0])),
    ]
    return Panel(
        name=groups,
        heading=f"{group} by {group}".capitalize(),
        sentences=(sentence, *some, f"Both ran in {compared.runtime} on the test samples."),
        picture=f"{title} {group} by {group}",
        axis=axis,
        before=compared.before,
        after=compared.after,
        groups=[change for _, change in shown],
        table=PanelTable(f"{title} of each {group}", columns, shown),
        further=further,
        short=f"{sentence} Most lost: {named}." if named else sentence,
        curves=curves,
        shots=shots,
        legend=legend,
        colours=colours,
    )


def ends(falling: Sequence[Any]) -> list[Any]:
    """Return those of ``falling``, the most lost first, that are shown: all, or of many those at the two ends."""
    return list(falling) if len(falling) <= ALL_UP_TO else [*falling[:MOST_LOST], *falling[-MOST_GAINED:]]
