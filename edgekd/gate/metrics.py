"""How each metric is judged: the answers in pairs, a ratio by its interval, counts and kinds exactly."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

from edgekd.errors import EdgekdError
from edgekd.figures import ABSENT, count, percent, significant, size
from edgekd.gate.paired import drop
from edgekd.gate.policy import Rule, number
from edgekd.gate.subject import BESIDE, right_of
from edgekd.gate.verdict import Finding, Level
from edgekd.registry import Registry

Row = Mapping[str, Any]
RETRAIN = "see what the change does to the network, or, if it is meant, promote the new baseline"
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

    def finding(self, level: Level, values: tuple[str, str], what: str, advice: str = "") -> Finding:
        if self.rule.level == "information" or (level == "fail" and self.rule.level == "warn"):
            level = self.rule.level
        return Finding(self.place, self.metric, level, *values, what, advice if level in ("fail", "warn") else "")


Judge = Callable[[Question], Finding]
METRICS: Registry[Judge] = Registry("metric", EdgekdError)


@METRICS.register("accuracy")
def accuracy(question: Question) -> Finding:
    before, after = number(question.baseline["accuracy"]), number(question.current.get("accuracy"))
    if after is None:
        return not_a_number(question)
    values = (percent(before), percent(after))
    answers = right_of(question.baseline), right_of(question.current)
    if before is None or answers[0] is None or answers[1] is None or len(answers[0]) != len(answers[1]):
        what = "the answers on the test samples are not kept in both, so that they cannot be compared in pairs"
        return question.finding("fail", values, what, "run and promote again with this version of edgekd")
    found, allowed = drop(answers[0], answers[1], question.confidence), question.rule.allows(before)
    counted = (
        f"{found.lost} of {question.current['n']} samples lost and {found.won} won, McNemar p = {p_value(found.p)}"
    )
    sure = f"at least {points(found.at_least)} with {question.confidence:.0%} confidence"
    what = f"{points(found.value)} points lost, {sure}; {counted}; allowed {points(allowed)}"
    level = worse(found.value, found.at_least, allowed, question.rule, before)
    if level == "ok" and -found.at_most > allowed:
        level, what = "better", f"{points(-found.value)} points won; {counted}"
    return bounded(question, after, question.finding(level, values, what, RETRAIN))


@METRICS.register("latency_ratio")
def latency_ratio(question: Question) -> Finding:
    """Student over teacher now, over the same of the baseline; or, where the run timed its student in turns with the
    baseline's own file, the ratio of these two, which what else runs on the machine hardly moves."""
    ratios = [number((each or {}).get("ratio")) for each in question.figures()]
    if ratios[1] is None:
        return not_a_number(question)
    values = tuple(f"{ratio:.4f}" if ratio else ABSENT for ratio in ratios)
    change = beside_baseline(question) if is_beside(question) else by_teacher(question)
    if change is None or not ratios[0]:
        what = "a ratio without an interval cannot be told from noise"
        return question.finding("fail", (values[0], values[1]), what, "measure for longer: six sittings or more")
    reach = NormalDist().inv_cdf(question.confidence) * change.spread
    at_least, at_most = ((1 + change.value) * math.exp(sign * reach) - 1 for sign in (-1, 1))
    allowed = question.rule.allows(ratios[0]) / ratios[0]
    sure = f"at least {at_least:+.1%} with {question.confidence:.0%} confidence"
    what = f"{change.value:+.1%} of {change.of}, {sure}; allowed {allowed:+.1%}"
    if not change.valid:
        advice = "measure again on a quiet machine"
        return question.finding("warn", (values[0], values[1]), f"{what}; measured in trouble", advice)
    level = worse(change.value, at_least, allowed, question.rule, ratios[0], relative=True)
    if level == "ok" and -at_most > allowed:
        level = "better"
    advice = "profile both files ('edgekd profile'), or, if it is meant, promote the new baseline"
    return bounded(question, ratios[1], question.finding(level, (values[0], values[1]), what, advice))


class Change(NamedTuple):
    """Of a time, as a share: 0.1 takes a tenth longer; ``spread`` is the standard error of its logarithm."""

    value: float
    spread: float
    of: str
    valid: bool


def is_beside(question: Question) -> bool:
    """Whether the run timed its file beside that of this baseline."""
    found, agreed = question.current.get(BESIDE), question.baseline.get("file_sha256")
    return isinstance(found, Mapping) and bool(agreed) and found.get("baseline_sha256") == agreed


def beside_baseline(question: Question) -> Change | None:
    found = question.current[BESIDE]
    ratio, width = number(found.get("ratio")), spread(found)
    if not ratio or width is None:
        return None
    return Change(ratio - 1, width, "the baseline's own time, in turns", found.get("valid", True))


def by_teacher(question: Question) -> Change | None:
    before, after = (each or {} for each in question.figures())
    ratios, widths = [number(each.get("ratio")) for each in (before, after)], [spread(each) for each in (before, after)]
    if not ratios[0] or not ratios[1] or widths[0] is None or widths[1] is None:
        return None
    valid = after.get("valid", True)
    return Change(ratios[1] / ratios[0] - 1, math.hypot(widths[0], widths[1]), "the teacher's time", valid)


@METRICS.register("operators")
def operators(question: Question) -> Finding:
    before, after = question.figures()
    if not isinstance(before, dict) or not isinstance(after, dict):
        return not_a_number(question)
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
    if not isinstance(after, str):
        return not_a_number(question)
    values = (str(before), after)
    if before == after:
        return question.finding("ok", values, f"{after} as before")
    advice = "see the report's warnings for why, or, if it is meant, promote the new baseline"
    return question.finding("fail", values, f"the file was {before} and is {after}", advice)


@METRICS.register("size_bytes", "params", "macs", "int8_coverage", "latency_ms")
def counted(question: Question) -> Finding:
    """A figure without noise."""
    before, after = (number(each) for each in question.figures())
    if before is None or after is None:
        return not_a_number(question)
    values = (shown(question.metric, before), shown(question.metric, after))
    worsening = {"higher": before - after, "lower": after - before, "same": abs(after - before)}[
        question.rule.direction
    ]
    allowed = question.rule.allows(before)
    share = f" ({(after - before) / before:+.2%})" if before else ""
    direction = "as before" if after == before else f"{shown(question.metric, after - before, signed=True)}{share}"
    what = f"{direction}; allowed {shown(question.metric, allowed)}"
    level = worse(worsening, worsening, allowed, question.rule, before)
    if level == "ok" and -worsening > allowed:
        level = "better"
    return bounded(question, after, question.finding(level, values, what, RETRAIN))


def worse(value: float, at_least: float, allowed: float, rule: Rule, baseline: float, relative: bool = False) -> Level:
    """``relative`` values are shares of the baseline."""
    if at_least > allowed:
        return "fail"
    soft = rule.warn.allows(baseline) / (baseline if relative else 1) if rule.warn else allowed
    return "warn" if value > min(allowed, soft) else "ok"


def bounded(question: Question, value: float, found: Finding) -> Finding:
    """``found``, unless ``value`` breaks a bound that holds whatever the baseline's is."""
    floor, ceiling = question.rule.floor, question.rule.ceiling
    for bound, broken, word in (
        (floor, floor is not None and value < floor, "below the floor of"),
        (ceiling, ceiling is not None and value > ceiling, "above the ceiling of"),
    ):
        if broken:
            what = f"{word} {shown(question.metric, bound)}; {found.what}"
            return question.finding("fail", (found.baseline, found.current), what, RETRAIN)
    return found


def not_a_number(question: Question) -> Finding:
    before, after = question.figures()
    state = "is missing" if after is None else f"is {str(after)[:40]!r}, which cannot be judged"
    advice = "run the recipe to its end with the same targets, and look at the report's warnings"
    values = (ABSENT if before is None else "given", ABSENT)
    return question.finding("fail", values, f"{question.metric} {state}, and the baseline has it", advice)


def spread(ratio: Mapping[str, Any]) -> float | None:
    """The standard error of the ratio's logarithm."""
    ends = [number(end) for end in ratio.get("ci95") or ()]
    if len(ends) != 2 or not ends[0] or not ends[1] or not 0 < ends[0] <= ends[1]:
        return None
    return math.log(ends[1] / ends[0]) / (2 * INTERVAL)


def shown(metric: str, value: float | None, signed: bool = False) -> str:
    if value is None:
        return ABSENT
    sign = "+" if signed and value > 0 else ""
    if metric == "size_bytes":
        return sign + (size(value) if abs(value) >= 1e6 else f"{value:.0f} B")
    if metric in ("params", "macs"):
        return sign + (count(value) if abs(value) >= 1e6 else f"{value:.0f}")
    if metric in ("accuracy", "int8_coverage"):
        return f"{sign}{100 * value:.1f} %"
    return sign + significant(value)


def points(share: float) -> str:
    # Without the sign of a nought.
    return f"{round(100 * share, 2) + 0.0:.2f}"


def p_value(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-6 else "below 0.000001"
