"""The cost of each stage of a run, in the metric, in time and in bytes, and what another cut would make of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pydantic import ValidationError

from edgekd.report.budget import DROP
from edgekd.report.changes import StageOptions
from edgekd.report.deployed import network_rows
from edgekd.report.schema import Check, Report, Row, StageRecord
from edgekd.stages import STAGES, Prune, Stage
from edgekd.tasks.metric import Metric

# A cut's loss over the share that goes: measured, it grows as its third power (docs/pruning.md, cuts by MACs). For a
# milder cut than the measured one the second power promises less.
HARDER, MILDER = 3, 2
# The parts of a bound that a prediction may use up.
TIME_MARGIN, SIZE_MARGIN = 0.93, 0.97
# Shares that a cut may keep, the mildest first.
CUTS = [round(0.95 - 0.01 * step, 2) for step in range(91)]
LEAST_SHARE = CUTS[-1]
# Measured: the part of the time that goes with the multiply-accumulates (docs/pruning.md, half of the latency).
TIME_OF_MACS = 0.9
# A line through two times close to each other says little: beyond a cut as mild as this half of the gain is counted on.
MILD, BEYOND_MILD = 0.6, 0.5
# Goals of pruning that are a share to keep.
SHARES = ("macs", "params", "size", "latency")


@dataclass(frozen=True)
class Standing:
    """A network's figures against the teacher's.

    Attributes:
        lost: how much worse the metric is, in its unit of differences.
        time, size: shares of the teacher's; None where they were not measured.
    """

    lost: float
    time: float | None = None
    size: float | None = None


@dataclass(frozen=True)
class StageCost:
    """A stage with the networks before and after it; ``number`` counts from 0.

    Of a pruning, where they are known and in (0, 1]: ``least`` is the smallest share that it reaches by its goal, and
    ``least_depth`` the share of the MACs that is left without any residual block.
    """

    number: int
    options: StageOptions
    before: Standing
    after: Standing
    epochs: int
    seconds: float | None
    kept_macs: float | None
    gained: float | None
    least: float | None = None
    least_depth: float | None = None

    @property
    def name(self) -> str:
        return self.options.name

    @property
    def lost(self) -> float:
        """Return how much the stage lost of the metric, in its unit of differences."""
        return self.after.lost - self.before.lost

    @property
    def stage(self) -> Stage:
        """Return the stage with all its options."""
        return STAGES[self.name].model_validate(self.options.given)

    @property
    def goal(self) -> str:
        """Return the option that says how far a pruning cuts; the MACs stand for a goal that is no share."""
        stage = self.stage
        goal = stage.goal if isinstance(stage, Prune) else None
        return goal if goal in SHARES else "macs"

    @property
    def share(self) -> float | None:
        """Return the share that a pruning kept by its goal, in (0, 1), or None where it is not known."""
        share = self.options.given.get(self.goal, self.kept_macs)
        return share if isinstance(share, int | float) and 0 < share < 1 else None


@dataclass(frozen=True)
class RunCosts:
    """A run by its stages, and its budget as bounds against the teacher.

    Attributes:
        excess: how much more is lost than the budget allows, in the metric's unit; below 0 is to spare, None no bound.
        most_time, most_size: shares of the teacher's that the budget allows; None without such a bound.
    """

    metric: Metric
    stages: tuple[StageCost, ...]
    final: Standing
    excess: float | None
    most_time: float | None
    most_size: float | None

    @property
    def options(self) -> tuple[StageOptions, ...]:
        """Return the stages as the recipe has them."""
        return tuple(each.options for each in self.stages)

    def within(self, standing: Standing, margin: float = 1.0) -> bool:
        """Tell whether time and size are within ``margin`` of what the budget allows."""
        bounds = ((standing.time, self.most_time), (standing.size, self.most_size))
        return all(most is None or (value is not None and value <= margin * most) for value, most in bounds)

    def fits(self, standing: Standing) -> bool:
        """Tell whether a prediction of time and size is within the budget, with a margin for its error."""
        time, size = Standing(0, standing.time, 0), Standing(0, 0, standing.size)
        return self.within(time, TIME_MARGIN) and self.within(size, SIZE_MARGIN)

    def mildest_harder(self, cut: StageCost) -> float | None:
        """Return the largest share below that of ``cut`` that can be reached and is predicted to fit, or None."""
        return next((each for each in harder(cut) if self.fits(self.after_cut(cut, each))), None)

    def milder(self, cut: StageCost) -> float | None:
        """Return a share above that of ``cut``, midway between what the metric needs and what time and size leave."""
        own = cut.share or 1.0
        allowed = [each for each in CUTS if each > own + 0.02 and self.fits(self.after_cut(cut, each))]
        if not allowed:
            return None
        most = self.final.lost - (self.excess or 0.0)
        enough = [each for each in allowed if self.after_cut(cut, each).lost <= most]
        return round((max(allowed) + min(enough)) / 2, 2) if enough else max(allowed)

    def after_cut(self, cut: StageCost, share: float) -> Standing:
        """Predict the last network if the pruning ``cut`` had kept ``share`` by its goal.

        Time is a line through the networks before and after the cut, size a power of the share, and the loss one of the
        share that goes. What later stages changed stays as it was.
        """
        own = cut.share
        if own is None:
            return self.final
        before, after, final = cut.before, cut.after, self.final
        gone = (1 - share) / (1 - own)
        lost = max(cut.lost, 0.0) * gone ** (HARDER if share < own else MILDER)
        time, size = final.time, final.size
        if before.time and after.time and final.time:
            reached = max(before.time + (after.time - before.time) * gone, 0.05 * before.time)
            if own > MILD and share < own:
                reached = max(reached, after.time * (1 - BEYOND_MILD * (own - share) / own))
            time = final.time / after.time * reached
        if before.size and after.size and final.size:
            power = math.log(after.size / before.size) / math.log(own)
            size = final.size / after.size * before.size * share**power
        return Standing(before.lost + lost + final.lost - after.lost, time, size)

    def without(self, stage: StageCost) -> Standing:
        """Predict the last network if ``stage`` were left out."""
        time, size = self.final.time, self.final.size
        if time and stage.before.time and stage.after.time:
            time *= stage.before.time / stage.after.time
        if size and stage.before.size and stage.after.size:
            size *= stage.before.size / stage.after.size
        return Standing(self.final.lost - stage.lost, time, size)


def harder(cut: StageCost) -> list[float]:
    """Return the shares below that of ``cut`` that a cut can reach, the mildest first."""
    return [each for each in CUTS if each < (cut.share or 1.0) and each >= (cut.least or 0.0)]


def first_cut(standing: Standing, share: float) -> Standing:
    """Predict a network that no stage has cut yet, if ``share`` of its multiply-accumulates were kept."""
    time = standing.time and standing.time * (1 - TIME_OF_MACS * (1 - share))
    return Standing(standing.lost, time, standing.size and standing.size * share)


def costs_of(report: Report) -> RunCosts | None:
    """Return what each stage cost, or None where a report does not have a network for each of its stages."""
    rows = [row for row in network_rows(report) if row.role != "ensemble"]
    records = [record for record in report.stages if record.name in STAGES]
    checks = report.budget.checks if report.budget else ()
    metric = _metric(report, checks)
    if not rows or len(rows) != len(records) + 1 or any(row.figure(metric) is None for row in rows):
        return None
    standings = [_standing(row, rows[0], metric) for row in rows]
    try:
        found = [
            _stage(number, record, standings[number : number + 2], _share(before.macs, after.macs), metric)
            for number, (record, (before, after)) in enumerate(zip(records, pairwise(rows), strict=True))
        ]
        for each in found:
            each.stage  # noqa: B018  (options of another version may be refused)
    except ValidationError:
        return None
    final, drop = standings[-1], next((each for each in checks if each.name == f"{metric.name}{DROP}"), None)
    return RunCosts(
        metric=metric,
        stages=tuple(found),
        final=final,
        excess=drop.value - drop.bound if drop and drop.value is not None else None,
        most_time=_most(final.time, checks, "latency_"),
        most_size=_most(final.size, checks, "size_"),
    )


def _metric(report: Report, checks: Sequence[Check]) -> Metric:
    missed = {each.name for each in checks if not each.met}
    return next((each for each in report.metrics if f"{each.name}{DROP}" in missed), report.metrics[0])


def _standing(row: Row, teacher: Row, metric: Metric) -> Standing:
    value, first = row.figure(metric), teacher.figure(metric)
    assert value is not None and first is not None
    time = row.latency_vs_teacher.ratio if row.latency_vs_teacher else None
    if time is None and row.own_ms and teacher.own_ms:
        time = row.own_ms.p50 / teacher.own_ms.p50
    return Standing(metric.scale * metric.drop(first, value), time, _share(teacher.size_bytes, row.size_bytes))


def _share(before: int | None, after: int | None) -> float | None:
    return after / before if before and after else None


def _most(value: float | None, checks: Sequence[Check], kind: str) -> float | None:
    bounds = [each.bound / each.value for each in checks if each.name.startswith(kind) and each.value]
    return value * min(bounds) if value and bounds else None


def _stage(
    number: int, record: StageRecord, standings: Sequence[Standing], macs: float | None, metric: Metric
) -> StageCost:
    history = record.metrics.get("history")
    entries = history if isinstance(history, list) else []
    given = record.options
    if given is None:  # of a report that an earlier version wrote
        given = {"epochs": len(entries), **({"macs": round(macs, 3)} if macs and macs < 1 else {})}
        given = {name: value for name, value in given.items() if name in STAGES[record.name].model_fields}
    before, after = standings
    own = StageCost(number, StageOptions(record.name, given), before, after, 0, record.seconds, macs, None)
    found = (each.get(f"validation_{metric.name}") for each in entries if isinstance(each, dict))
    figures = [each for each in found if isinstance(each, int | float)]
    gained = -metric.scale * metric.drop(figures[-2], figures[-1]) if len(figures) > 1 else None
    cuts = record.metrics.get("cuts")
    last = cuts[-1] if isinstance(cuts, list) and cuts else None
    least = _number(last.get("least")) if isinstance(last, dict) else None
    depth = _number(record.metrics.get("least_depth"))
    return replace(own, epochs=own.stage.epochs, gained=gained, least=least, least_depth=depth)


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) else None
