"""One metric at one place in both reports, and what every judge of it says alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgekd.formatting import ABSENT, exceeds, format_distinct, in_hundredths, significant
from edgekd.gate.row import BaselineRatio, GateRow, TimeRatio
from edgekd.gate.rules import Rule, is_share
from edgekd.gate.verdict import Finding, Level
from edgekd.tasks.registry import metrics_by_name

RETRAIN = "see what the change does to the network, or, if it is meant, promote the new baseline"


@dataclass(frozen=True)
class Question:
    """One metric at one place, in both reports."""

    place: str
    metric: str
    rule: Rule
    confidence: float
    baseline: GateRow
    current: GateRow

    def figures(self) -> tuple[Any, Any]:
        """Return the metric before and now, each None if it was not measured.

        Milliseconds are costs, or the latencies of both if one of the two has no cost; but a run that lost its cost to
        other processes was not measured.
        """
        before, after = self.baseline.cost_ms, self.current.cost_ms
        if self.metric == "latency_ms" and before is not None and (after is not None or self.current.why_invalid):
            return before, after
        return self.baseline.figure(self.metric), self.current.figure(self.metric)

    @property
    def in_turns(self) -> BaselineRatio | None:
        """Return the time over that of the baseline's own file, of a latency that was timed in turns with it."""
        timed = self.metric == "latency_ratio" and self.current.is_timed_against(self.baseline)
        return self.current.latency_vs_baseline if timed else None

    def finding(self, level: Level, values: Sequence[str], what: str, advice: str = "") -> Finding:
        """Return a finding of at most the level that the rule allows."""
        if self.rule.level == "information" or (level == "fail" and self.rule.level == "warn"):
            level = self.rule.level
        return self.fixed_finding(level, values, what, advice)

    def bound(self, limit: str) -> str:
        """Return the words for what is allowed, none where nothing is judged by it."""
        return "" if self.rule.level == "information" else f"; allowed {limit}"

    def fixed_finding(self, level: Level, values: Sequence[str], what: str, advice: str = "") -> Finding:
        """Return a finding of this level, whatever the rule's."""
        before, after = values
        advice = advice if level in ("fail", "warn") else ""
        row = self.current if self.current.runtime else self.baseline
        return Finding(self.place, self.metric, level, before, after, what, advice, row.place_text)


Judge = Callable[[Question], Finding]


def worse(value: float, at_least: float, allowed: float, rule: Rule, baseline: float, relative: bool = False) -> Level:
    """Return the level of a worsening by ``value`` and surely ``at_least`` that, both shares if ``relative``."""
    if exceeds(at_least, allowed):
        return "fail"
    soft = rule.warn.allows(baseline) / (baseline if relative else 1) if rule.warn else allowed
    return "warn" if exceeds(value, min(allowed, soft)) else "ok"


def bounded(question: Question) -> Finding | None:
    """Return a finding if the figure itself is beyond the policy's floor or ceiling, else None.

    Neither the baseline's figure nor a disturbed measurement changes that.
    """
    rule, before, after = question.rule, *map(value_of, question.figures())
    level: Level = "warn" if rule.level == "warn" else "fail"
    if after is None:
        return None
    for bound, broken, word in (
        (rule.floor, rule.floor is not None and exceeds(rule.floor, after), "below the floor of"),
        (rule.ceiling, rule.ceiling is not None and exceeds(after, rule.ceiling), "above the ceiling of"),
    ):
        if bound is not None and broken:
            now, limit = shown(question.metric, after, bound)
            values = (ABSENT if before is None else shown(question.metric, before)[0], now)
            return question.fixed_finding(level, values, f"{word} {limit}", RETRAIN)
    return None


def new_figure(question: Question) -> Finding:
    """Return the finding of a figure that the baseline does not have."""
    value = value_of(question.figures()[1])
    now = ABSENT if value is None else shown(question.metric, value)[0]
    what = "new: the baseline has no such figure, and later runs are compared with it once this run is promoted"
    return question.fixed_finding("information", (ABSENT, now), what)


def missing(question: Question) -> Finding:
    """Return the finding of a figure that the run lacks, and that the baseline has or the policy bounds."""
    before = value_of(question.figures()[0])
    values = ("given" if before is None else shown(question.metric, before)[0], ABSENT)
    needed = "the policy bounds it" if question.figures()[0] is None else "the baseline has it"
    advice = "run the recipe to its end with the same targets, and look at the report's warnings"
    return question.finding("fail", values, f"{question.metric} is missing, and {needed}", advice)


def value_of(figure: Any) -> float | None:
    """Return the number that bounds apply to, or None if the figure is no number."""
    number = figure.ratio if isinstance(figure, TimeRatio) else figure
    return number if isinstance(number, int | float) else None


def shown(metric: str, *values: float) -> list[str]:
    """Format figures of ``metric`` with their unit, with digits enough to tell those apart that differ."""
    if is_share(metric):
        return [f"{text} %" for text in format_distinct([*values, 0, 1], in_hundredths, 1)[: len(values)]]
    if metric == "size_bytes":
        return [f"{value:.0f} B" for value in values]
    if metric in ("params", "macs"):
        return [f"{value:.0f}" for value in values]
    if metric == "latency_ratio":
        return format_distinct(values, decimals, 4)
    quality = metrics_by_name().get(metric)
    unit = quality.unit if quality else ""
    return [f"{text} {unit}".rstrip() for text in format_distinct(values, significant, 3)]


def amounts(metric: str, *values: float) -> list[str]:
    """Format differences of ``metric`` with their unit, those of shares in points."""
    if not is_share(metric):
        return shown(metric, *values)
    return [f"{text} points" for text in format_distinct([*values, 0, 1], in_hundredths, 1)[: len(values)]]


def decimals(value: float, places: int) -> str:
    return f"{value:.{places}f}"


def signed(text: str) -> str:
    return text if text.startswith("-") else f"+{text}"


def confidently(question: Question) -> str:
    return f"with {100 * question.confidence:.4g}% confidence"


def p_value(p: float) -> str:
    return f"p = {p:.2g}" if p >= 1e-6 else "p < 0.000001"
