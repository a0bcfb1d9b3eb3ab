"""Value by value: the errors of two networks on the same test samples, and how large they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgekd.formatting import Column, exceeds, percent, significant
from edgekd.tasks.breakdown import (
    HIT,
    NAMED,
    TRUE,
    Base64,
    GroupChange,
    LostGroup,
    NamedPredictions,
    Panel,
    PanelTable,
    ReportPart,
    Shot,
    ends,
)
from edgekd.tasks.regression.evidence import bin_edges, divided, errors_of
from edgekd.tasks.regression.points import distances

if TYPE_CHECKING:
    from edgekd.tasks.breakdown import Pictures

# A share by which the error of a value may grow before it is named in a warning.
MOST_GROWN = 0.05
BINS = 8
# Images that are shown.
EXAMPLES = 3
LEGEND = "The test images in which the two networks differ most:"
COLOURS = ((TRUE, "true points"), (HIT, "predicted points"))

Share = Annotated[float, Field(ge=0, le=1)]
Size = Annotated[float, Field(ge=0)]


class ValueErrors(ReportPart):
    """One value: its mean absolute error before and after, on the ``n`` test samples of which it is known."""

    name: str
    n: Annotated[int, Field(ge=0)]
    error_before: Size | None = None
    error_after: Size | None = None
    bias_before: float | None = None
    bias_after: float | None = None


class ErrorBin(ReportPart):
    """The shares of errors that are at least ``low`` and below ``high``, before and after."""

    low: Size
    high: Size
    before: Share
    after: Share


class PointExample(ReportPart):
    """Test image ``sample``: pictures of its points, and of those predicted before and after.

    They are transparent PNG to lie over ``photo``, a JPEG; all in base64.
    """

    sample: Annotated[int, Field(ge=0)]
    actual: Base64
    before: Base64
    after: Base64
    photo: Base64


class ByValue(ReportPart):
    """The errors of the networks ``before`` and ``after`` in ``runtime``, value by value.

    ``bins`` are of absolute errors, of several values in units of each one's deviation (``in_deviations``). Points have
    ``examples``.
    """

    before: str
    after: str
    runtime: str
    values: tuple[ValueErrors, ...]
    bins: tuple[ErrorBin, ...] = ()
    in_deviations: bool = False
    examples: tuple[PointExample, ...] = ()

    @property
    def changed(self) -> list[ValueErrors]:
        """Return the values that are known, those whose error grew by the largest share first."""
        known = [each for each in self.values if each.error_before is not None and each.error_after is not None]
        return sorted(known, key=lambda each: -_growth(each))

    def lost(self) -> list[LostGroup]:
        return [
            LostGroup(
                "value_lost",
                f"{self.after} predicts {each.name!r} with a mean absolute error of {significant(each.error_after)}, "
                f"the {self.before} of {significant(each.error_before)}, on {each.n} test samples",
                GroupChange(each.name, each.error_before or 0.0, each.error_after or 0.0, "lower", significant),
            )
            for each in self.changed
            if exceeds(_growth(each), MOST_GROWN)
        ]

    def panel(self) -> Panel:
        columns = [
            Column("Value", lambda each: each.name, number=False),
            Column(f"Error of {self.before}", lambda each: significant(each.error_before)),
            Column(f"Error of {self.after}", lambda each: significant(each.error_after)),
            Column("Change", lambda each: _signed_percent(_growth(each))),
            Column(f"Bias of {self.before}", lambda each: _signed(each.bias_before)),
            Column(f"Bias of {self.after}", lambda each: _signed(each.bias_after)),
            Column("Samples", lambda each: str(each.n)),
        ]
        unit = ", in deviations of the value" if self.in_deviations else ""
        return Panel(
            name="errors",
            heading="Errors",
            sentences=(self._sentence(), f"In {self.runtime}, on the test samples."),
            picture=f"Absolute errors{unit}",
            axis="errors in the range in %",
            before=self.before,
            after=self.after,
            groups=[
                GroupChange(f"{significant(each.low)} to {significant(each.high)}", each.before, each.after)
                for each in self.bins
            ],
            table=PanelTable("Mean absolute error of each value", columns, ends(self.changed)),
            further=(),
            short=self._short(),
            shots=[shot for each in self.examples for shot in self._shots(each)],
            legend=LEGEND,
            colours=COLOURS,
        )

    def _shots(self, each: PointExample) -> list[Shot]:
        shown = (("points", each.actual), (self.before, each.before), (self.after, each.after))
        return [Shot(png, f"{name}, test image {each.sample}", each.photo) for name, png in shown]

    def _sentence(self) -> str:
        if len(self.changed) == 1:
            [only] = self.changed
            return (
                f"The mean absolute error of {only.name} is {significant(only.error_before)} of {self.before} and "
                f"{significant(only.error_after)} of {self.after}."
            )
        grown, shrunk = (sum(sign * _growth(each) > 0 for each in self.changed) for sign in (1, -1))
        return (
            f"Of {len(self.changed)} values the error grew for {grown} and shrank for {shrunk} from {self.before} to "
            f"{self.after}."
        )

    def _short(self) -> str:
        grown = [each for each in self.changed if _growth(each) > 0][:NAMED]
        named = [f"{each.name}, {significant(each.error_before)} → {significant(each.error_after)}" for each in grown]
        return " ".join(
            [self._sentence(), *([f"Mean absolute errors that grew: {'; '.join(named)}."] if named else [])]
        )


def by_value(
    before: NamedPredictions, after: NamedPredictions, targets: Mapping[str, NDArray[Any]], names: Sequence[str],
    runtime: str,
) -> ByValue:  # fmt: skip
    """Return the errors of two networks' predictions of the same samples in the same order.

    Args:
        targets: ``values`` (N, values) and, optionally, ``known``.
        names: of the values, in the order of outputs.
        runtime: that both ran in.
    """
    (was, wanted, known), (now, _, _) = (errors_of(each.predictions, targets) for each in (before, after))
    counts = known.sum(0)
    means = [_means(part, counts) for errors in (was, now) for part in (np.abs(errors), errors)]
    scale = np.ones(len(names)) if len(names) == 1 else _deviations(wanted, known)
    return ByValue(
        before=before.network,
        after=after.network,
        runtime=runtime,
        values=tuple(
            ValueErrors(name=name, n=n, error_before=own[0], bias_before=own[1], error_after=own[2], bias_after=own[3])
            for name, n, *own in zip(names, counts.tolist(), *means, strict=True)
        ),
        bins=_bins(*((np.abs(errors) / scale)[known] for errors in (was, now))),
        in_deviations=len(names) > 1,
    )


def by_point(
    before: NamedPredictions, after: NamedPredictions, targets: Mapping[str, NDArray[Any]], names: Sequence[str],
    runtime: str, pictures: Pictures | None = None,
) -> ByValue:  # fmt: skip
    """Return the distances, in pixels, of two networks' points on the same images in the same order.

    Args:
        targets: ``values`` (N, points, 2) and, optionally, ``known``.
        names: of the points, in the order of outputs.
        runtime: that both ran in.
        pictures: of the images, to show points over.
    """
    (was, known), (now, _) = (distances(each.predictions, targets) for each in (before, after))
    counts = known.sum(0)
    means = (_means(errors, counts) for errors in (was, now))
    return ByValue(
        before=before.network,
        after=after.network,
        runtime=runtime,
        values=tuple(
            ValueErrors(name=name, n=n, error_before=first, error_after=second)
            for name, n, first, second in zip(names, counts.tolist(), *means, strict=True)
        ),
        bins=_bins(*(errors[known] for errors in (was, now))),
        examples=_examples(before, after, targets["values"], names, pictures) if pictures else (),
    )


def _examples(
    before: NamedPredictions, after: NamedPredictions, actual: NDArray[Any], names: Sequence[str], pictures: Pictures
) -> tuple[PointExample, ...]:
    from edgekd.tasks.pictures import for_report

    was, now = (each.predictions.values for each in (before, after))
    apart = np.nan_to_num(np.hypot(*np.moveaxis(was - now, -1, 0)), nan=np.inf).mean(1)
    most = np.argsort(-apart, kind="stable")[:EXAMPLES].tolist()
    return tuple(
        PointExample(
            sample=index,
            actual=_drawn(actual[index], None, names, photo.shape[1:]),
            before=_drawn(actual[index], was[index], names, photo.shape[1:]),
            after=_drawn(actual[index], now[index], names, photo.shape[1:]),
            photo=for_report(photo),
        )
        for index, photo in zip(most, pictures(most), strict=True)
    )


def _drawn(actual: NDArray[Any], points: NDArray[Any] | None, names: Sequence[str], size: Sequence[int]) -> str:
    from edgekd.tasks.pictures import base64, glass

    picture, pen = glass(size)
    for place in actual[np.isfinite(actual).all(1)].tolist():
        pen.cross(place, TRUE)
    shown = actual if points is None else points
    for name, place in zip(names, shown.tolist(), strict=True):
        if np.isfinite(place).all():
            pen.dot(place, TRUE if points is None else HIT, name)
    return base64(picture)


def _means(errors: NDArray[Any], counts: NDArray[Any]) -> list[float | None]:
    found = divided(errors.sum(0), counts.astype(np.float64)).tolist()
    return [value if np.isfinite(value) else None for value in found]


def _deviations(wanted: NDArray[Any], known: NDArray[Any]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.nanstd(np.where(known, wanted, np.nan), 0)
    return np.where(found > 0, found, 1.0)


def _bins(was: NDArray[Any], now: NDArray[Any]) -> tuple[ErrorBin, ...]:
    was, now = (each[np.isfinite(each)] for each in (was, now))
    if not len(was) or not len(now):
        return ()
    edges = bin_edges(np.concatenate([was, now]), BINS)
    before, after = (np.histogram(each, edges)[0] / len(each) for each in (was, now))
    rows = zip(edges[:-1].tolist(), edges[1:].tolist(), before.tolist(), after.tolist(), strict=True)
    return tuple(ErrorBin(low=low, high=high, before=first, after=second) for low, high, first, second in rows)


def _growth(value: ValueErrors) -> float:
    if value.error_before is None or value.error_after is None:
        return 0.0
    return (value.error_after - value.error_before) / max(value.error_before, 1e-12)


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{'−' if value < 0 else '+'}{significant(abs(value))}"


def _signed_percent(share: float) -> str:
    return f"{'−' if share < 0 else '+'}{percent(abs(share))}"
