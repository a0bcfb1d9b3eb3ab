"""The judge of a task's metrics: in pairs, on what both networks predicted for the same samples."""

from dataclasses import replace

from edgekd.errors import EdgekdError
from edgekd.formatting import exceeds, format_distinct, in_hundredths, significant
from edgekd.gate.question import RETRAIN, Question, confidently, missing, p_value, shown, worse
from edgekd.gate.verdict import Finding
from edgekd.tasks.compare import MetricDifference, compare
from edgekd.tasks.metric import Metric


def quality(question: Question, metric: Metric) -> Finding:
    """Judge how much worse the metric surely is, whichever way it is better."""
    before, after = question.figures()
    if after is None:
        return missing(question)
    values = shown(metric.name, before, after)
    kept = question.baseline.kept.get(metric.name), question.current.kept.get(metric.name)
    if kept[0] is None or kept[1] is None or kept[0].n != kept[1].n:
        what = "the predictions on the test samples are not kept in both, so that they cannot be compared in pairs"
        return question.finding("fail", values, what, "run and promote again with this version of edgekd")
    try:
        found = compare(metric, kept[0], kept[1], question.confidence)
    except EdgekdError as error:
        return question.finding("fail", values, str(error), RETRAIN)
    allowed = question.rule.allows(before)
    lost, at_least, limit = _amounts(metric, found.drop, found.lower, allowed)
    lost_or, won_or = ("lost", "won") if metric.better == "higher" else ("worse", "better")
    unit = f" {metric.unit_of_differences}".rstrip()
    counted = _counted(found)
    what = f"{lost}{unit} {lost_or}, at least {at_least} {confidently(question)}; {counted}{question.bound(limit)}"
    level = worse(found.drop, found.lower, allowed, question.rule, before)
    if level == "ok" and exceeds(-found.upper, allowed):
        level, what = "better", f"{_amounts(metric, -found.drop)[0]}{unit} {won_or}; {counted}"
    judged = question.finding(level, values, what, RETRAIN)
    return replace(judged, brief=f"as before on all {found.n} samples") if found.is_unchanged else judged


def _amounts(metric: Metric, *values: float) -> list[str]:
    if metric.unit == "%":
        return format_distinct(values, in_hundredths, 2)
    return format_distinct(values, significant, 3)


def _counted(found: MetricDifference) -> str:
    if found.lost is None:
        return f"{found.n} samples, randomisation {p_value(found.p)}"
    return f"{found.lost} of {found.n} samples lost and {found.won} won, McNemar {p_value(found.p)}"
