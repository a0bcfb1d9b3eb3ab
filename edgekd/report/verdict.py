"""The budget's verdict in words, the same for every rendering."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edgekd.figures import ABSENT, significant
from edgekd.report.schema import Check, Note, Report, Row

MOST_OF_A_CODE = 5


class Line(NamedTuple):
    """One check: what was promised, what was measured, how far apart, and ``met`` or ``not met``."""

    name: str
    value: str
    bound: str
    margin: str
    verdict: str
    met: bool


def headline(report: Report) -> str:
    if report.budget is None or not report.budget.checks:
        return "No budget set"
    failed = sum(not check.met for check in report.budget.checks)
    if not failed:
        return "Budget met"
    return f"Budget not met: {failed} of {len(report.budget.checks)} checks failed"


def lines(report: Report) -> list[Line]:
    return [line(check) for check in (report.budget.checks if report.budget else ())]


def line(check: Check) -> Line:
    verdict = "met" if check.met else "not met" if check.value is not None else "not met (not measured)"
    return Line(
        name=check.name.removesuffix("_ms").removesuffix("_mb").replace("_", " "),
        value=ABSENT if check.value is None else amount(check.value, check.unit),
        bound=f"at most {check.bound:g}{space(check.unit)}",
        margin=margin(check),
        verdict=verdict,
        met=check.met,
    )


def margin(check: Check) -> str:
    if check.value is None:
        return ABSENT
    apart = amount(abs(check.bound - check.value), check.unit.removesuffix(" teacher"))
    return f"{apart} {'to spare' if check.met else 'too much'}"


def amount(value: float, unit: str) -> str:
    return significant(value) + space(unit)


def space(unit: str) -> str:
    return unit if unit.startswith("×") else f" {unit}"


def notes(report: Report) -> list[str]:
    """Every warning of the report, then those of its rows, one line for all rows that a code is said of."""
    found = list(folded(report.warnings))
    said: dict[str, list[tuple[Row, str]]] = {}
    for row in report.rows:
        for note in row.warnings:
            said.setdefault(note.code, []).append((row, note.message))
        if not row.valid and not row.warnings:
            found.append(f"{row_name(row)}: the measurement is not valid")
    return found + [row_note(code, rows) for code, rows in said.items()]


def folded(warnings: Sequence[Note]) -> Iterator[str]:
    """The first few of each code; hundreds of classes may be lost."""
    counts = Counter(note.code for note in warnings)
    seen: Counter[str] = Counter()
    for note in warnings:
        seen[note.code] += 1
        if seen[note.code] <= MOST_OF_A_CODE:
            yield f"{note.message} ({note.code})"
        elif seen[note.code] == counts[note.code]:
            yield f"{counts[note.code] - MOST_OF_A_CODE} more of this kind ({note.code})"


def row_note(code: str, rows: list[tuple[Row, str]]) -> str:
    (first, message), others = rows[0], rows[1:]
    alike = "" if all(other == message for _, other in others) else "; the others alike"
    names = row_name(first) if not others else ", ".join(dict.fromkeys(row.model for row, _ in rows))
    return f"{names}: {message}{alike} ({code})"


def row_name(row: Row) -> str:
    return f"{row.model}, {row.precision}, {row.runtime}"
