"""Judges of the figures that every task has: a ratio by its interval, counts and kinds exactly."""

import math
from statistics import NormalDist
from typing import NamedTuple

from edgekd.errors import EdgekdError
from edgekd.formatting import ABSENT, exceeds, format_distinct, in_hundredths
from edgekd.gate.question import (
    RETRAIN,
    Judge,
    Question,
    amounts,
    confidently,
    decimals,
    missing,
    shown,
    signed,
    value_of,
    worse,
)
from edgekd.gate.row import TimeRatio
from edgekd.gate.rules import is_share
from edgekd.gate.verdict import Finding
from edgekd.registry import Registry

MEASURE = "measure again on a quiet machine"
# No disturbance of a measurement makes a network cost this many times as much.
DISTURBANCE = 2.0
METRICS: Registry[Judge] = Registry("metric", EdgekdError)


@METRICS.register("latency_ratio")
def latency_ratio(question: Question) -> Finding:
    """Judge the ratio of the student's cost to the teacher's against the baseline's ratio.

    Where the run timed its student in turns with the baseline's own file, the ratio of these two is judged instead,
    also where a ratio to the teacher is missing: other load on the machine hardly moves it. A ratio that is not valid
    fails only where even its lower bound is far beyond what is allowed, and else is not measured, which warns.
    """
    (before, after), timed = question.figures(), question.in_turns
    # A bound holds for the ratio to the teacher.
    if after is None and (timed is None or question.rule.bounds):
        return not_measured(question) if question.current.why_invalid else missing(question)
    judged = against_teacher(before, after) if timed is None else against_baseline(timed)
    values = format_distinct([judged.before, judged.after], decimals, 4)
    reach = NormalDist().inv_cdf(question.confidence) * (judged.spread or 0)
    if judged.spread is None or reach > math.log(DISTURBANCE):
        what = (
            f"a ratio {'without an' if judged.spread is None else 'with so wide an'} interval cannot be told from noise"
        )
        if not judged.valid:
            return question.finding("warn", values, f"not measured: {what}; {trouble(question)}", MEASURE)
        return question.finding("fail", values, what, "measure for longer: six launches or more")
    if timed is not None and is_contradicted(question, timed):
        moved = f"its ratio to the same teacher went from {before.ratio:.4f} to {after.ratio:.4f}"
        what = f"{values[1]} of {judged.of}, and {moved}: one of the two is wrong"
        return question.finding("fail", values, what, MEASURE)
    scale = judged.before if before is None else before.ratio
    change, allowed = judged.after / judged.before - 1, question.rule.allows(scale) / scale
    at_least, at_most = ((1 + change) * math.exp(sign * reach) - 1 for sign in (-1, 1))
    by, surely, limit = format_distinct([change, at_least, allowed], in_hundredths, 1)
    sure = f"at least {signed(surely)}% {confidently(question)}"
    what = f"{signed(by)}% of {judged.of}, {sure}{question.bound(f'{signed(limit)}%')}"
    level = worse(change, at_least, allowed, question.rule, scale, relative=True)
    if not judged.valid and not (level == "fail" and 1 + at_least >= DISTURBANCE):
        return question.finding("warn", values, f"not measured: {what}; {trouble(question)}", MEASURE)
    if level == "ok" and exceeds(-at_most, allowed):
        level = "better"
    advice = "profile both files ('edgekd profile'), or, if it is meant, promote the new baseline"
    return question.finding(level, values, what, advice)


def not_measured(question: Question) -> Finding:
    """Return the finding of a time that was to be measured, where other processes left none."""
    before = value_of(question.figures()[0])
    values = (ABSENT if before is None else shown(question.metric, before)[0], ABSENT)
    return question.finding("warn", values, f"not measured: {trouble(question)}", MEASURE)


def trouble(question: Question) -> str:
    """Say which of the two measurements is not valid, and why if that is known."""
    if question.current.valid and not question.baseline.valid:
        return "the baseline's measurement was disturbed"
    return question.current.why_invalid or "the measurement was disturbed"


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
    if before is None or after is None or question.baseline.teacher != question.current.teacher:
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


@METRICS.register("latency_ms")
def latency_ms(question: Question) -> Finding:
    """Judge the milliseconds of an inference; what is not valid warns.

    It fails only where even the least that the cost may be is far beyond. A latency is as long as others make it.
    """
    if question.figures()[1] is None:
        return not_measured(question) if question.current.why_invalid else missing(question)
    found = counted(question)
    if found.level != "fail" or is_certain(question):
        return found
    return question.finding(
        "warn", (found.baseline, found.current), f"not measured: {found.what}; {trouble(question)}", MEASURE
    )


def is_certain(question: Question) -> bool:
    """Tell whether a disturbance cannot be why the milliseconds differ."""
    before, after = question.baseline, question.current
    if before.valid and after.valid:
        return True
    least = None if before.cost_ms is None else after.cost_at_least_ms
    return least is not None and least >= DISTURBANCE * question.figures()[0]


@METRICS.register("size_bytes", "params", "macs", "int8_coverage")
def counted(question: Question) -> Finding:
    """Judge a figure without noise."""
    before, after = question.figures()
    if after is None:
        return missing(question)
    worsening = {"higher": before - after, "lower": after - before, "same": abs(after - before)}[
        question.rule.direction
    ]
    allowed = question.rule.allows(before)
    by, limit = amounts(question.metric, abs(after - before), allowed)
    is_relative = before and not is_share(question.metric)
    share = f" ({signed(format_distinct([after / before - 1, 0], in_hundredths, 2)[0])}%)" if is_relative else ""
    direction = f"{'-' if after < before else '+'}{by}{share}" if after != before else "as before"
    what = f"{direction}{question.bound(limit)}"
    level = worse(worsening, worsening, allowed, question.rule, before)
    if level == "ok" and exceeds(-worsening, allowed):
        level = "better"
    return question.finding(level, shown(question.metric, before, after), what, RETRAIN)
