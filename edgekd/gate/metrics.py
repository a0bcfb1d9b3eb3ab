"""How each metric is judged: accuracy in pairs of predictions, a ratio by its interval, counts and kinds exactly."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

from edgekd.errors import EdgekdError
from edgekd.formatting import ABSENT, exceeds, format_distinct, in_hundredths, significant
from edgekd.gate.policy import Rule
from edgekd.gate.row import GateRow, TimeRatio
from edgekd.gate.verdict import Finding, Level
from edgekd.registry import Registry
from edgekd.stats.paired import drop

RETRAIN = "see what the change does to the network, or, if it is meant, promote the new baseline"
MEASURE = "measure again on a quiet machine"
# No disturbance of a measurement makes a network take this many times as long.
DISTURBANCE = 2.0


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
        """Return the metric before and now, each None if it was not measured."""
        return getattr(self.baseline, self.metric), getattr(self.current, self.metric)

    def finding(self, level: Level, values: Sequence[str], what: str, advice: str = "") -> Finding:
        """Return a finding of at most the level that the rule allows."""
        if self.rule.level == "information" or (level == "fail" and self.rule.level == "warn"):
            level = self.rule.level
        return self.fixed_finding(level, values, what, advice)

    def fixed_finding(self, level: Level, values: Sequence[str], what: str, advice: str = "") -> Finding:
        """Return a finding of this level, whatever the rule's."""
        before, after = values
        return Finding(self.place, self.metric, level, before, after, what, advice if level in ("fail", "warn") else "")


Judge = Callable[[Question], Finding]
METRICS: Registry[Judge] = Registry("metric", EdgekdError)


@METRICS.register("accuracy")
def accuracy(question: Question) -> Finding:
    """Judge a loss of accuracy by the exact test on paired predictions."""
    before, after = question.figures()
    if after is None:
        return missing(question)
    values = shown("accuracy", before, after)
    correct = question.baseline.correct, question.current.correct
    if correct[0] is None or correct[1] is None or len(correct[0]) != len(correct[1]):
        what = "the predictions on the test samples are not kept in both, so that they cannot be compared in pairs"
        return question.finding("fail", values, what, "run and promote again with this version of edgekd")
    found, allowed = drop(correct[0], correct[1], question.confidence), question.rule.allows(before)
    lost, at_least, limit = format_distinct([found.value, found.at_least, allowed], in_hundredths, 2)
    counted = f"{found.lost} of {question.current.n} samples lost and {found.won} won, McNemar p = {p_value(found.p)}"
    what = f"{lost} points lost, at least {at_least} {confidently(question)}; {counted}; allowed {limit}"
    level = worse(found.value, found.at_least, allowed, question.rule, before)
    if level == "ok" and exceeds(-found.at_most, allowed):
        level, what = "better", f"{in_hundredths(-found.value, 2)} points won; {counted}"
    return question.finding(level, values, what, RETRAIN)


@METRICS.register("latency_ratio")
def latency_ratio(question: Question) -> Finding:
    """Judge the ratio of the student's latency to the teacher's against the baseline's ratio.

    Where the run timed its student in turns with the baseline's own file, the ratio of these two is judged instead:
    other load on the machine hardly moves it.
    """
    before, after = question.figures()
    if after is None:
        return missing(question)
    timed = question.current.latency_vs_baseline if question.current.is_timed_against(question.baseline) else None
    judged = against_teacher(before, after) if timed is None else against_baseline(timed)
    values = format_distinct([judged.before, judged.after], decimals, 4)
    reach = NormalDist().inv_cdf(question.confidence) * (judged.spread or 0)
    if judged.spread is None or reach > math.log(DISTURBANCE):
        what = (
            f"a ratio {'without an' if judged.spread is None else 'with so wide an'} interval cannot be told from noise"
        )
        return question.finding("fail", values, what, "measure for longer: six launches or more")
    if timed is not None and is_contradicted(question, timed):
        moved = f"its ratio to the same teacher went from {before.ratio:.4f} to {after.ratio:.4f}"
        what = f"{values[1]} of {judged.of}, and {moved}: one of the two is wrong"
        return question.finding("fail", values, what, MEASURE)
    change, allowed = judged.after / judged.before - 1, question.rule.allows(before.ratio) / before.ratio
    at_least, at_most = ((1 + change) * math.exp(sign * reach) - 1 for sign in (-1, 1))
    by, surely, limit = format_distinct([change, at_least, allowed], in_hundredths, 1)
    sure = f"at least {signed(surely)}% {confidently(question)}"
    what = f"{signed(by)}% of {judged.of}, {sure}; allowed {signed(limit)}%"
    level = worse(change, at_least, allowed, question.rule, before.ratio, relative=True)
    if not judged.valid and not (level == "fail" and judged.after >= DISTURBANCE * judged.before):
        return question.finding("warn", values, f"{what}; the measurement was disturbed", MEASURE)
    if level == "ok" and exceeds(-at_most, allowed):
        level = "better"
    advice = "profile both files ('edgekd profile'), or, if it is meant, promote the new baseline"
    return question.finding(level, values, what, advice)


class TimesInTurns(NamedTuple):
    """Two times in one unit, of what; ``spread`` is the standard error of the logarithm of their ratio."""

    before: float
    after: float
    spread: float | None
    of: str
    valid: bool


def against_baseline(timed: TimeRatio) -> TimesInTurns:
    """Return the time in turns with the baseline's own file, which is 1."""
    return TimesInTurns(1.0, timed.ratio, timed.spread, "the baseline's own time, in turns", timed.valid)


def against_teacher(before: TimeRatio, after: TimeRatio) -> TimesInTurns:
    """Return the ratios to the teacher's time, before and now."""
    widths = before.spread, after.spread
    width = None if widths[0] is None or widths[1] is None else math.hypot(widths[0], widths[1])
    return TimesInTurns(before.ratio, after.ratio, width, "the teacher's time", before.valid and after.valid)


def is_contradicted(question: Question, timed: TimeRatio) -> bool:
    """Tell whether the time against the baseline's own file is far from that against the same teacher."""
    before, after = question.figures()
    if question.baseline.teacher != question.current.teacher:
        return False
    drift = after.ratio / before.ratio / timed.ratio
    return not 1 / DISTURBANCE <= drift <= DISTURBANCE


@METRICS.register("operators")
def operators(question: Question) -> Finding:
    """Judge the operators of the file, none of which may change."""
    before, after = question.figures()
    if after is None:
        return missing(question)
    changed = [
        f"{name} {before.get(name, 0)} to {after.get(name, 0)}"
        for name in sorted({*before, *after})
        if before.get(name, 0) != after.get(name, 0)
    ]
    values = (f"{sum(before.values())} nodes", f"{sum(after.values())} nodes")
    if not changed:
        return question.finding("ok", values, "the same operators")
    advice = "see what the exporter or the network changed ('edgekd lint' names the layers), or promote the baseline"
    return question.finding("fail", values, f"other operators: {', '.join(changed)}", advice)


@METRICS.register("precision")
def precision(question: Question) -> Finding:
    """Judge the precision of the file, which may not change."""
    before, after = question.figures()
    if after is None:
        return missing(question)
    values = (before, after)
    if before == after:
        return question.finding("ok", values, f"{after} as before")
    advice = "see the report's warnings for why, or, if it is meant, promote the new baseline"
    return question.finding("fail", values, f"the file was {before} and is {after}", advice)


@METRICS.register("size_bytes", "params", "macs", "int8_coverage", "latency_ms")
def counted(question: Question) -> Finding:
    """Judge a figure without noise."""
    before, after = question.figures()
    if after is None:
        return missing(question)
    worsening = {"higher": before - after, "lower": after - before, "same": abs(after - before)}[
        question.rule.direction
    ]
    allowed = question.rule.allows(before)
    by, limit = shown(question.metric, abs(after - before), allowed)
    share = f" ({signed(format_distinct([after / before - 1, 0], in_hundredths, 2)[0])}%)" if before else ""
    direction = f"{'-' if after < before else '+'}{by}{share}" if after != before else "as before"
    what = f"{direction}; allowed {limit}"
    level = worse(worsening, worsening, allowed, question.rule, before)
    if level == "ok" and exceeds(-worsening, allowed):
        level = "better"
    return question.finding(level, shown(question.metric, before, after), what, RETRAIN)


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
    """Return the finding of a figure that the baseline has and the run lacks."""
    before = value_of(question.figures()[0])
    values = ("given" if before is None else shown(question.metric, before)[0], ABSENT)
    advice = "run the recipe to its end with the same targets, and look at the report's warnings"
    return question.finding("fail", values, f"{question.metric} is missing, and the baseline has it", advice)


def value_of(figure: Any) -> float | None:
    """Return the number that bounds apply to, or None if the figure is no number."""
    number = figure.ratio if isinstance(figure, TimeRatio) else figure
    return number if isinstance(number, int | float) else None


def shown(metric: str, *values: float) -> list[str]:
    """Format figures of ``metric`` with their unit, with digits enough to tell those apart that differ."""
    if metric in ("accuracy", "int8_coverage"):
        return [f"{text} %" for text in format_distinct([*values, 0, 1], in_hundredths, 1)[: len(values)]]
    if metric == "size_bytes":
        return [f"{value:.0f} B" for value in values]
    if metric in ("params", "macs"):
        return [f"{value:.0f}" for value in values]
    if metric == "latency_ratio":
        return format_distinct(values, decimals, 4)
    return format_distinct(values, significant, 3)


def decimals(value: float, places: int) -> str:
    return f"{value:.{places}f}"


def signed(text: str) -> str:
    return text if text.startswith("-") else f"+{text}"


def confidently(question: Question) -> str:
    return f"with {100 * question.confidence:.4g}% confidence"


def p_value(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-6 else "below 0.000001"
