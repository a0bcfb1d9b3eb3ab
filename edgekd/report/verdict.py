"""The budget's verdict in words, the same for every rendering."""

from typing import NamedTuple

from edgekd.figures import ABSENT, significant
from edgekd.report.schema import Check, Report, Row


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
    found = [f"{note.message} ({note.code})" for note in report.warnings]
    said: dict[str, list[tuple[Row, str]]] = {}
    for row in report.rows:
        for note in row.warnings:
            said.setdefault(note.code, []).append((row, note.message))
        if not row.valid and not row.warnings:
            found.append(f"{row_name(row)}: the measurement is not valid")
    return found + [row_note(code, rows) for code, rows in said.items()]


def row_note(code: str, rows: list[tuple[Row, str]]) -> str:
    (first, message), others = rows[0], rows[1:]
    alike = "" if all(other == message for _, other in others) else "; the others alike"
    names = row_name(first) if not others else ", ".join(dict.fromkeys(row.model for row, _ in rows))
    return f"{names}: {message}{alike} ({code})"


def row_name(row: Row) -> str:
    return f"{row.model}, {row.precision}, {row.runtime}"
