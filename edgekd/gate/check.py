"""The gate: a pure function of two subjects and a policy."""

from collections.abc import Iterator
from dataclasses import replace

from edgekd.figures import ABSENT
from edgekd.gate.comparable import NotComparable, must_be_comparable
from edgekd.gate.metrics import METRICS, Question, accuracy, bounded, unheld
from edgekd.gate.policy import Policy
from edgekd.gate.subject import GateSubject
from edgekd.gate.verdict import ORDER, Finding, Level, Verdict


def check(baseline: GateSubject, current: GateSubject, policy: Policy | None = None) -> Verdict:
    """Judge every figure that the baseline has, wherever its network runs, and all figures that the policy bounds.

    A figure that the current report lacks fails, where the baseline has it or the policy names it.

    Raises:
        NotComparable: they are of other samples, another machine, runtime, teacher or number of threads, or nothing
            in them can be judged.
    """
    policy = policy or Policy()
    must_be_comparable(baseline, current, policy)
    verdict = Verdict.of(current.name, [*_figures(baseline, current, policy), *_absent(baseline, current, policy)])
    if not verdict.judged:
        raise NotComparable([])
    return verdict


def _figures(baseline: GateSubject, current: GateSubject, policy: Policy) -> Iterator[Finding]:
    for place in dict.fromkeys([*baseline.rows, *current.rows]):
        row, now = baseline.rows.get(place, {}), current.rows.get(place, {})
        for metric, judge in METRICS.items():
            question = Question(place, metric, policy.rules[metric], policy.confidence, row, now)
            if metric in row:
                yield _both(bounded(question), judge(question))
            elif metric in now:
                yield bounded(question) or _new(question, baseline)


def _new(question: Question, baseline: GateSubject) -> Finding:
    """A network at one more place answers the same samples, so that its accuracy is held to that elsewhere."""
    places = {place: row for place, row in baseline.rows.items() if "accuracy" in row}
    if question.metric != "accuracy" or question.baseline or not places:
        return unheld(question)
    least = min(places, key=lambda place: float(places[place]["accuracy"]))
    found = accuracy(replace(question, baseline=places[least]))
    return replace(found, what=f"{found.what}; this place is new, and held to {least}")


def _both(bound: Finding | None, found: Finding) -> Finding:
    """A broken bound is told first, with its own numbers."""
    if bound is None:
        return found
    level = min(bound.level, found.level, key=ORDER.index)
    return replace(bound, level=level, what=f"{bound.what}; {found.what}")


def _absent(baseline: GateSubject, current: GateSubject, policy: Policy) -> Iterator[Finding]:
    """Metrics that the policy names, and that neither of the two has anywhere."""
    rows = [*baseline.rows.values(), *current.rows.values()]
    for metric in METRICS:
        rule = policy.rules[metric]
        if metric in policy.named and rule.judges and not any(metric in row for row in rows):
            what = f"the policy names {metric}, and neither the run nor the baseline has it"
            level: Level = "warn" if rule.level == "warn" else "fail"
            advice = "run the recipe with a target that it is measured on, or take it out of the policy"
            yield Finding("everywhere", metric, level, ABSENT, ABSENT, what, advice)
