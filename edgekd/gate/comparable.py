"""Which facts two reports must share to be compared."""

from typing import NamedTuple

from edgekd.errors import EdgekdError
from edgekd.gate.policy import Policy
from edgekd.gate.row import GateRow, TeacherFigures
from edgekd.gate.subject import GateSubject
from edgekd.records.facts import TEST_SET, device_of
from edgekd.records.rows import PLACE


class FactDifference(NamedTuple):
    """A fact that the two reports do not share."""

    field: str
    baseline: object
    current: object


class NotComparable(EdgekdError):
    """The two reports are of other samples or another machine; ``differences`` are the facts that differ."""

    exit_code = 3

    def __init__(self, differences: list[FactDifference]):
        self.differences = tuple(differences)
        said = "; ".join(f"{each.field}: {_short(each.baseline)}, now {_short(each.current)}" for each in differences)
        whole = (
            f"the two reports cannot be compared: {said or 'no figure of them is judged'}. Run where and on what the "
            "baseline was run, or promote a baseline for this place"
        )
        super().__init__(" ".join(whole.split()))


def must_be_comparable(baseline: GateSubject, current: GateSubject, policy: Policy) -> None:
    """Check that both reports are of the same task, samples, machine, runtime and teacher.

    Raises:
        NotComparable: with every fact that differs or that one of the two lacks.
    """
    if baseline.task is not current.task:
        raise NotComparable([FactDifference("task", baseline.task.name, current.task.name)])
    # A device that one of the two was not measured on leaves the figures of the others what they are.
    shared = _devices(baseline) & _devices(current)
    names = sorted(
        name for name in {*baseline.facts, *current.facts} if device_of(name) is None or device_of(name) in shared
    )
    found = [
        FactDifference(name, baseline.facts.get(name), current.facts.get(name))
        for name in names
        if baseline.facts.get(name) != current.facts.get(name)
    ]
    if TEST_SET not in baseline.facts and TEST_SET not in current.facts:
        found.append(FactDifference(TEST_SET, None, None))
    found += _elsewhere(baseline, current)
    found += _other_teachers(baseline, current, policy)
    if found:
        raise NotComparable(found)


def _devices(subject: GateSubject) -> set[str | None]:
    return {device_of(fact) for fact in subject.facts} | {row.device for row in subject.rows.values()}


def _other_teachers(baseline: GateSubject, current: GateSubject, policy: Policy) -> list[FactDifference]:
    """Where a time is judged by that of the teacher, and the teacher is another one."""
    rule = policy.rules["latency_ratio"]
    found = []
    for place, row in baseline.rows.items():
        now = current.rows.get(place, GateRow())
        is_judged = now.latency_ratio is not None and (not now.is_timed_against(row) or rule.bounds)
        # A baseline of an older edgekd does not say its teacher.
        if row.teacher is None or not is_judged or rule.level == "information":
            continue
        after = (now.teacher or TeacherFigures()).to_json()
        found += [
            FactDifference(f"the teacher's {name} on {row.place_text}", value, after.get(name))
            for name, value in row.teacher.to_json().items()
            if value != after.get(name)
        ]
    return found


def _elsewhere(baseline: GateSubject, current: GateSubject) -> list[FactDifference]:
    """Where one of the two ran on another device, or with other threads, than the other one did."""
    before, now = (
        {name: row for name, row in one.rows.items() if name not in other.rows}
        for one, other in ((baseline, current), (current, baseline))
    )
    found = []
    for row in before.values():
        same = [other for other in now.values() if other.runtime == row.runtime]
        found += [
            FactDifference(f"{field} in {row.runtime}", getattr(row, field), getattr(same[0], field))
            for field in PLACE
            if same and getattr(same[0], field) != getattr(row, field)
        ]
    if not found and not set(baseline.rows) & set(current.rows):
        places = (sorted(row.place_text for row in one.rows.values()) for one in (baseline, current))
        found.append(FactDifference("places", *places))
    return found


def _short(value: object) -> str:
    if value is None:
        return "unknown"
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
