"""The gate: a pure function of two subjects and a policy."""

from edgekd.gate.comparable import must_be_comparable
from edgekd.gate.metrics import METRICS, Question
from edgekd.gate.policy import Policy
from edgekd.gate.subject import Subject
from edgekd.gate.verdict import Finding, Verdict


def check(baseline: Subject, current: Subject, policy: Policy | None = None) -> Verdict:
    """Judges every figure that the baseline has, wherever its network runs.

    A figure that the baseline lacks is not judged; one that the current report lacks fails.

    Raises:
        NotComparable: they are of other samples, another machine, runtime or number of threads.
    """
    must_be_comparable(baseline, current)
    policy = policy or Policy()
    findings: list[Finding] = []
    for place, row in baseline.rows.items():
        for metric, judge in METRICS.items():
            if metric in row:
                now = current.rows.get(place, {})
                findings.append(judge(Question(place, metric, policy.rules[metric], policy.confidence, row, now)))
    return Verdict.of(current.name, findings)
