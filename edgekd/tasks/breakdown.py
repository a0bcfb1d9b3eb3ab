"""A metric class by class, or label by label, for two networks on the same samples: what a report keeps and shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict
from typing_extensions import Self

from edgekd.formatting import Column, percent
from edgekd.strict_json import JsonObject

# More groups than these are shown by their ends alone.
ALL_UP_TO = 15
MOST_LOST, MOST_GAINED = 10, 3
# So many are named in a short text.
NAMED = 3


class NamedPredictions(NamedTuple):
    """What ``network`` predicts, as the task's :meth:`edgekd.tasks.task.Task.decode` gives it."""

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


class Shot(NamedTuple):
    """A small picture, a PNG in base64, and what it shows."""

    png: str
    caption: str


@dataclass(frozen=True)
class Panel:
    """A part of a report's page.

    Attributes:
        name: of the part in links.
        sentences: above the picture; the first says the most in short.
        picture: its title; it shows ``groups`` before and after, along ``axis``.
        table: next to the picture; ``further`` are below.
        short: the whole in a line or two, for a pull request.
        shots: small pictures below the tables, such as of predictions before and after.
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
    shots: Sequence[Shot] = ()


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


def said(first: str, shown: int, of: int, runtime: str) -> tuple[str, ...]:
    """Return the sentences of a panel: the ``first``, how ``shown`` of all groups were chosen, and where both ran."""
    some = "Shown are those that lost most and the few that gained most."
    return (first, *([some] if shown < of else []), f"In {runtime}, on the test samples.")


def lost_and_gained(changes: Sequence[float], groups: str, metric: str, before: str, after: str) -> str:
    """Say of how many ``groups`` the ``metric`` fell and rose."""
    lost, gained = sum(each < 0 for each in changes), sum(each > 0 for each in changes)
    return f"Of {len(changes)} {groups} {lost} lost {metric} from {before} to {after} and {gained} gained."


def ends(falling: Sequence[Any]) -> list[Any]:
    """Return those of ``falling``, the most lost first, that are shown: all, or of many those at the two ends."""
    return list(falling) if len(falling) <= ALL_UP_TO else [*falling[:MOST_LOST], *falling[-MOST_GAINED:]]
