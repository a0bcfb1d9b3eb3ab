"""The gate: a pure function of two subjects and a policy."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from edgekd.formatting import ABSENT
from edgekd.gate.comparable import NotComparable, must_be_comparable
from edgekd.gate.metrics import METRICS
from edgekd.gate.policy import Policy
from edgekd.gate.quality import quality
from edgekd.gate.question import Judge, Question, bounded, new_figure
from edgekd.gate.row import GateRow
from edgekd.gate.subject import GateSubject
from edgekd.gate.verdict import ORDER, Finding, Level, Verdict


def check(baseline: GateSubject, current: GateSubject, policy: Policy | None = None) -> Verdict:
    """Judge every metric of the baseline at every place, and all metrics that the policy bounds.

    A metric that the current report lacks fails if the baseline has it or the policy names it.

    Raises:
        NotComparable: they are of other samples, another machine, runtime, teacher or number of threads, or no metric
            in them can be judged.
    """
    policy = policy or Policy()
    must_be_comparable(baseline, current, policy)
    found = list(_figures(baseline, current, policy))
    verdict = Verdict.of(current.name, [*found, *_absent(found, baseline, policy)])
    if not verdict.judged:
        raise NotComparable([])
    return verdict


def _figures(baseline: GateSubject, current: GateSubject, policy: Policy) -> Iterator[Finding]:
    judges = _judges(baseline)
    for place in dict.fromkeys([*baseline.rows, *current.rows]):
        row, now = baseline.rows.get(place, GateRow()), current.rows.get(place, GateRow())
        for metric, judge in judges.items():
            question = Question(place, metric, policy.rules[metric], policy.confidence, row, now)
            before, after = question.figures()
            if before is not None or question.in_turns:
                yield _both(bounded(question), judge(question))
            elif after is not None:
                yield bounded(question) or _new(question, baseline)


def _judges(baseline: GateSubject) -> dict[str, Judge]:
    """The task's metrics first."""
    return {**{metric.name: partial(quality, metric=metric) for metric in baseline.task.metrics}, **METRICS}


def _new(question: Question, baseline: GateSubject) -> Finding:
    """A network at a new place predicts the same samples: a task's metric is compared with the worst one elsewhere."""
    metric = next((each for each in baseline.task.metrics if each.name == question.metric), None)
    if metric is None or question.place in baseline.rows:
        return new_figure(question)
    known = {place: row.metrics[metric.name] for place, row in baseline.rows.items() if metric.name in row.metrics}
    if not known:
        return new_figure(question)
    least = (min if metric.better == "higher" else max)(known, key=lambda place: known[place])
    found = quality(replace(question, baseline=baseline.rows[least]), metric)
    known_as = baseline.rows[least].place_text
    return replace(found, what=f"{found.what}; this place is new, and compared with {known_as}", brief="")


def _both(bound: Finding | None, found: Finding) -> Finding:
    """A broken bound comes first, with its own numbers."""
    if bound is None:
        return found
    level = min(bound.level, found.level, key=ORDER.index)
    return replace(bound, level=level, what=f"{bound.what}; {found.what}")


def _absent(found: Iterable[Finding], baseline: GateSubject, policy: Policy) -> Iterator[Finding]:
    """Metrics that the policy names, and that neither of the two has anywhere; it may name other tasks' metrics too."""
    known = {each.metric for each in found}
    for metric in _judges(baseline):
        rule = policy.rules[metric]
        if metric in policy.named and rule.judges and metric not in known:
            what = f"the policy names {metric}, and neither the run nor the baseline has it"
            level: Level = "warn" if rule.level == "warn" else "fail"
            advice = "run the recipe with a target that it is measured on, or take it out of the policy"
            yield Finding("everywhere", metric, level, ABSENT, ABSENT, what, advice)
