"""The budget's verdict in words, the same for every rendering."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edgekd.formatting import ABSENT, COST_SENTENCE, differ, exceeds, format_distinct, shows_costs, significant
from edgekd.report.schema import Check, Note, Report, Row

MOST_OF_A_CODE = 5


class Line(NamedTuple):
    """One check: what was promised, what was measured, how far apart, and ``met`` or ``not met``.

    ``remark`` says so if the samples are too few to tell which of the two it is, why nothing was measured, or how the
    value is to be read; else it is empty.
    """

    name: str
    value: str
    bound: str
    margin: str
    verdict: str
    met: bool
    remark: str


def headline(report: Report) -> str:
    if report.budget is None or not report.budget.checks:
        return "No budget set"
    failed = sum(not check.met for check in report.budget.checks)
    if not failed:
        return "Budget met"
    return f"Budget not met: {failed} of {len(report.budget.checks)} checks failed"


def lines(report: Report) -> list[Line]:
    drops = {f"{metric.name}_drop": f"{metric.title} drop" for metric in report.metrics}
    checks = report.budget.checks if report.budget else ()
    return [line(check, drops.get(check.name)) for check in checks]


def line(check: Check, name: str | None = None) -> Line:
    verdict = "met" if check.met else "not met" if check.value is not None else "not met (not measured)"
    value, bound = shown(check)
    return Line(
        name=name or check.name.removesuffix("_ms").removesuffix("_mb").replace("_", " "),
        value=value,
        bound=f"at most {bound}{space(check.unit)}",
        margin=margin(check),
        verdict=verdict,
        met=check.met,
        remark="; ".join(each for each in (uncertainty(check), check.note) if each),
    )


def shown(check: Check) -> tuple[str, str]:
    """Format the value with its unit, and the bound, with digits enough to tell them apart."""
    bound = f"{check.bound:.12g}"
    if check.value is None:
        return ABSENT, bound
    # What differs by the rounding of binary fractions alone is the same.
    value = check.value if differ(check.value, check.bound) else check.bound
    return format_distinct([value, check.bound], significant, 3)[0] + space(check.unit), bound


def margin(check: Check) -> str:
    if check.value is None:
        return ABSENT
    apart = abs(check.bound - check.value) if differ(check.value, check.bound) else 0.0
    return f"{amount(apart, check.unit.removesuffix(' teacher'))} {'to spare' if check.met else 'too much'}"


def uncertainty(check: Check) -> str:
    """Say that the samples are too few to tell whether the bound holds, or nothing."""
    if check.ci95 is None or exceeds(check.ci95[0], check.bound) or not exceeds(check.ci95[1], check.bound):
        return ""
    low, high = (significant(end) for end in check.ci95)
    return f"{check.n} samples cannot tell: between {low} and {high} {check.unit} with 95 % confidence"


def amount(value: float, unit: str) -> str:
    return significant(value) + space(unit)


def space(unit: str) -> str:
    return unit if unit.startswith("×") else f" {unit}"


def cost_sentences(report: Report) -> list[str]:
    """Return the sentence that tells costs and latencies apart, where other processes were at work."""
    return [COST_SENTENCE] if shows_costs(row.to_json() for row in report.rows) else []


def warning_lines(report: Report) -> list[str]:
    """Return every warning of the report, then those of its rows, with one line for all rows of a code."""
    found = list(folded(report.warnings))
    by_code: dict[str, list[tuple[Row, str]]] = {}
    for row in report.rows:
        for note in row.warnings:
            by_code.setdefault(note.code, []).append((row, note.message))
        if not row.valid and not row.warnings:
            found.append(f"{row_name(row)}: the measurement is not valid")
    return found + [row_note(code, rows) for code, rows in by_code.items()]


def folded(warnings: Sequence[Note]) -> Iterator[str]:
    """Yield the first few warnings of each code; hundreds of classes may be lost."""
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
