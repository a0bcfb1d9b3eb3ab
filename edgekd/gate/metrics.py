"""How each metric is judged: the answers in pairs, a ratio by its interval, counts and kinds exactly."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

from edgekd.errors import EdgekdError
from edgekd.figures import ABSENT, exceeds, in_hundredths, significant, told_apart
from edgekd.gate.policy import Rule
from edgekd.gate.subject import BESIDE, is_beside, right_of
from edgekd.gate.verdict import Finding, Level
from edgekd.registry import Registry
from edgekd.stats.paired import drop

Row = Mapping[str, Any]
RETRAIN = "see what the change does to the network, or, if it is meant, promote the new baseline"
MEASURE = "measure again on a quiet machine"
# No trouble of a measurement makes a network take this many times as long.
TROUBLE = 2.0
# Of the ratio's own interval.
INTERVAL = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Question:
    """One metric of one row, in both reports; ``baseline`` is never absent."""

    place: str
    metric: str
    rule: Rule
    confidence: float
    baseline: Row
    current: Row

    def figures(self) -> tuple[Any, Any]:
        return self.baseline.get(self.metric), self.current.get(self.metric)

    def finding(self, level: Level, values: Sequence[str], what: str, advice: str = "") -> Finding:
        if self.rule.level == "information" or (level == "fail" and self.rule.level == "warn"):
            level = self.rule.level
        return self.as_it_is(level, values, what, advice)

    def as_it_is(self, level: Level, values: Sequence[str], what: str, advice: str = "") -> Finding:
        before, after = values
        return Finding(self.place, self.metric, level, before, after, what, advice if level in ("fail", "warn") else "")


Judge = Callable[[Question], Finding]
METRICS: Registry[Judge] = Registry("metric", EdgekdError)


@METRICS.register("accuracy")
def accuracy(question: Question) -> Finding:
    before, after = question.figures()
    if after is None:
        return missing(question)
    values = shown("accuracy", before, after)
    answers = right_of(question.baseline), right_of(question.current)
    if answers[0] is None or answers[1] is None or len(answers[0]) != len(answers[1]):
        what = "the answers on the test samples are not kept in both, so that they cannot be compared in pairs"
        return question.finding("fail", values, what, "run and promote again with this version of edgekd")
    found, allowed = drop(answers[0], answers[1], question.confidence), question.rule.allows(before)
    lost, at_least, limit = told_apart([found.value, found.at_least, allowed], in_hundredths, 2)
    counted = (
        f"{found.lost} of {question.current['n']} samples lost and {found.won} won, McNemar p = {p_value(found.p)}"
    )
    what = f"{lost} points lost, at least {at_least} {confidently(question)}; {counted}; allowed {limit}"
    level = worse(found.value, found.at_least, allowed, question.rule, before)
    if level == "ok" and exceeds(-found.at_most, allowed):
        level, what = "better", f"{in_hundredths(-found.value, 2)} points won; {counted}"
    return question.finding(level, values, what, RETRAIN)


@METRICS.register("latency_ratio")
def latency_ratio(question: Question) -> Finding:
    """Student over teacher now, over the same of the baseline; or, where the run timed its student in turns with the
    baseline's own file, the ratio of these two, which what else runs on the machine hardly moves."""
    before, after = question.figures()
    if after is None:
        return missing(question)
    judged = beside_baseline(question) if is_beside(question.baseline, question.current) else by_teacher(question)
    values = told_apart([judged.before, judged.after], decimals, 4)
    reach = NormalDist().inv_cdf(question.confidence) * (judged.spread or 0)
    if judged.spread is None or reach > math.log(TROUBLE):
        what = (
            f"a ratio {'without an' if judged.spread is None else 'with so wide an'} interval cannot be told from noise"
        )
        return question.finding("fail", values, what, "measure for longer: six sittings or more")
    if contradicted(question, judged):
        moved = f"its ratio to the same teacher went from {before['ratio']:.4f} to {after['ratio']:.4f}"
        what = f"{values[1]} of {judged.of}, and {moved}: one of the two is wrong"
        return question.finding("fail", values, what, MEASURE)
    change, allowed = judged.after / judged.before - 1, question.rule.allows(before["ratio"]) / before["ratio"]
    at_least, at_most = ((1 + change) * math.exp(sign * reach) - 1 for sign in (-1, 1))
    by, surely, limit = told_apart([change, at_least, allowed], in_hundredths, 1)
    sure = f"at least {signed(surely)}% {confidently(question)}"
    what = f"{signed(by)}% of {judged.of}, {sure}; allowed {signed(limit)}%"
    level = worse(change, at_least, allowed, question.rule, before["ratio"], relative=True)
    if not judged.valid and not (level == "fail" and judged.after >= TROUBLE * judged.before):
        return question.finding("warn", values, f"{what}; measured in trouble", MEASURE)
    if level == "ok" and exceeds(-at_most, allowed):
        level = "better"
    advice = "profile both files ('edgekd profile'), or, if it is meant, promote the new baseline"
    return question.finding(level, values, what, advice)


class TimesInTurns(NamedTuple):
    """Two times in one unit; ``spread`` is the standard error of the logarithm of the one over the other."""

    before: float
    after: float
    spread: float | None
    of: str
    valid: bool


def beside_baseline(question: Question) -> TimesInTurns:
    found = question.current[BESIDE]
    of = "the baseline's own time, in turns"
    return TimesInTurns(1.0, found["ratio"], spread(found), of, found.get("valid", True))


def contradicted(question: Question, judged: TimesInTurns) -> bool:
    """Whether the time beside the baseline's own file is another one than beside the same teacher."""
    before, after = question.figures()
    if not is_beside(question.baseline, question.current) or question.baseline.get("teacher") != question.current.get(
        "teacher"
    ):
        return False
    drift = after["ratio"] / before["ratio"] / judged.after
    return not 1 / TROUBLE <= drift <= TROUBLE


def by_teacher(question: Question) -> TimesInTurns:
    before, after = question.figures()
    widths = spread(before), spread(after)
    width = None if widths[0] is None or widths[1] is None else math.hypot(widths[0], widths[1])
    valid = before.get("valid", True) and after.get("valid", True)
    return TimesInTurns(before["ratio"], after["ratio"], width, "the teacher's time", valid)


@METRICS.register("operators")
def operators(question: Question) -> Finding:
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
    """A figure without noise."""
    before, after = question.figures()
    if after is None:
        return missing(question)
    worsening = {"higher": before - after, "lower": after - before, "same": abs(after - before)}[
        question.rule.direction
    ]
    allowed = question.rule.allows(before)
    by, limit = shown(question.metric, abs(after - before), allowed)
    share = f" ({signed(told_apart([after / before - 1, 0], in_hundredths, 2)[0])}%)" if before else ""
    direction = f"{'-' if after < before else '+'}{by}{share}" if after != before else "as before"
    what = f"{direction}; allowed {limit}"
    level = worse(worsening, worsening, allowed, question.rule, before)
    if level == "ok" and exceeds(-worsening, allowed):
        level = "better"
    return question.finding(level, shown(question.metric, before, after), what, RETRAIN)


def worse(value: float, at_least: float, allowed: float, rule: Rule, baseline: float, relative: bool = False) -> Level:
    """``relative`` values are shares of the baseline."""
    if exceeds(at_least, allowed):
        return "fail"
    soft = rule.warn.allows(baseline) / (baseline if relative else 1) if rule.warn else allowed
    return "warn" if exceeds(value, min(allowed, soft)) else "ok"


def bounded(question: Question) -> Finding | None:
    """What the policy's floor or ceiling says of the figure itself, whatever the baseline's and however it was
    measured; None where it holds or there is none."""
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
            return question.as_it_is(level, values, f"{word} {limit}", RETRAIN)
    return None


def unheld(question: Question) -> Finding:
    """A figure that the baseline does not have, so that only bounds hold it."""
    value = value_of(question.current[question.metric])
    now = ABSENT if value is None else shown(question.metric, value)[0]
    what = "new: the baseline has no such figure, and promoting this run holds later ones to it"
    return question.as_it_is("information", (ABSENT, now), what)


def missing(question: Question) -> Finding:
    before = value_of(question.figures()[0])
    values = ("given" if before is None else shown(question.metric, before)[0], ABSENT)
    advice = "run the recipe to its end with the same targets, and look at the report's warnings"
    return question.finding("fail", values, f"{question.metric} is missing, and the baseline has it", advice)


def value_of(figure: Any) -> float | None:
    """The number that a bound is about."""
    number = figure.get("ratio") if isinstance(figure, Mapping) else figure
    return number if isinstance(number, int | float) else None


def spread(ratio: Mapping[str, Any]) -> float | None:
    """The standard error of the ratio's logarithm."""
    ends = ratio.get("ci95")
    return math.log(ends[1] / ends[0]) / (2 * INTERVAL) if ends else None


def shown(metric: str, *values: float) -> list[str]:
    """Figures of ``metric`` with their unit, those that differ told apart."""
    if metric in ("accuracy", "int8_coverage"):
        return [f"{text} %" for text in told_apart([*values, 0, 1], in_hundredths, 1)[: len(values)]]
    if metric == "size_bytes":
        return [f"{value:.0f} B" for value in values]
    if metric in ("params", "macs"):
        return [f"{value:.0f}" for value in values]
    if metric == "latency_ratio":
        return told_apart(values, decimals, 4)
    return told_apart(values, significant, 3)


def decimals(value: float, places: int) -> str:
    return f"{value:.{places}f}"


def signed(text: str) -> str:
    return text if text.startswith("-") else f"+{text}"


def confidently(question: Question) -> str:
    return f"with {100 * question.confidence:.4g}% confidence"


def p_value(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-6 else "below 0.000001"
