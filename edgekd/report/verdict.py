"""The budget's verdict in words, the same for every rendering."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edgekd.formatting import (
    ABSENT,
    UNCHANGED,
    differ,
    exceeds,
    format_distinct,
    in_times,
    notes_on_rows,
    significant,
)
from edgekd.report.budget import DROP
from edgekd.report.deployed import is_teacher, network_rows
from edgekd.report.schema import Check, Note, Report, Row
from edgekd.tasks.metric import Metric

MOST_OF_A_CODE = 5
NO_BUDGET = "No budget set"
# Checks of ratios to the teacher's figure, in the words that the tables have for them.
RATIOS = {"latency_ratio": ("faster", "slower"), "size_ratio": ("smaller", "larger")}
# Times a bound that are no longer said in percent.
FAR = 3
# How such a figure is within its bound, and how not.
WITHIN = {"latency_ratio": ("less time", "more time"), "size_ratio": ("smaller", "larger")}
# Codes of notes on a row whose file stayed float, in the words of the headline.
STAYED_FLOAT = {"int8_not_faster": "int8 was slower here", "int8_not_accurate": "int8 was not accurate enough"}


class Line(NamedTuple):
    """One check: what was promised, what was measured, how far apart, and ``met`` or ``not met``.

    ``remark`` says so if the samples are too few to tell which of the two it is, why nothing was measured, or how the
    value is to be read; else it is empty. ``is_gain``: the network is better than the teacher where it may be worse.
    """

    name: str
    value: str
    bound: str
    margin: str
    verdict: str
    met: bool
    remark: str
    is_gain: bool = False

    @property
    def said(self) -> str:
        """Return value and bound as ``0.6 points, at most 1 points``."""
        return f"{self.value}{';' if self.is_gain else ','} {self.bound}"

    @property
    def remarks(self) -> str:
        """Return margin and remark as `` (0.4 points to spare)``, or nothing."""
        found = [each for each in (self.margin, self.remark) if each and each != self.value]
        return f" ({'; '.join(found)})" if found else ""

    def __str__(self) -> str:
        return f"{self.name}: {self.said}: {self.verdict}{self.remarks}"


def headline(report: Report) -> str:
    if report.budget is None or not report.budget.checks:
        return NO_BUDGET
    failed = sum(not check.met for check in report.budget.checks)
    if not failed:
        return "Budget met"
    return f"Budget not met: {failed} of {len(report.budget.checks)} checks failed"


def figures(report: Report) -> str:
    """Return what the deployed network gains and loses, as ``12× faster · 89× smaller · −0.3 points``.

    It ends with why the file is float where int8 was asked for. It is empty where there is nothing to compare with.
    """
    rows = network_rows(report)
    teacher = next((row for row in rows if is_teacher(row, report)), None)
    if teacher is None or teacher is rows[-1]:
        return ""
    row, metric = rows[-1], report.metrics[0]
    time = row.latency_vs_teacher.ratio if row.latency_vs_teacher and row.valid else None
    size = row.size_bytes / teacher.size_bytes if row.size_bytes and teacher.size_bytes else None
    before, after = teacher.figure(metric), row.figure(metric)
    change = ABSENT if before is None or after is None else metric.shown_change(after - before)
    change += "" if metric.unit or change == ABSENT else f" {metric.title}"  # which a bare number does not tell
    found = (in_times(time, *RATIOS["latency_ratio"]), in_times(size, *RATIOS["size_ratio"]), change)
    gained = " · ".join(each for each in found if each != ABSENT and not each.startswith(UNCHANGED))
    why = next((STAYED_FLOAT[note.code] for note in row.warnings if note.code in STAYED_FLOAT), "")
    return f"{gained} ({row.precision}: {why})" if gained and why else gained


def lines(report: Report) -> list[Line]:
    bounded = {f"{metric.name}{DROP}": metric for metric in report.metrics}
    checks = report.budget.checks if report.budget else ()
    return [line(check, bounded.get(check.name)) for check in checks]


def line(check: Check, metric: Metric | None = None) -> Line:
    """Return the check in words; ``metric`` is the one that it bounds, where it bounds any."""
    worse = "rise" if metric is not None and metric.better == "lower" else "drop"
    verdict = "met" if check.met else "not met" if check.value is not None else "not met (not measured)"
    value, bound = shown(check, worse)
    return Line(
        name=_name(check, metric, worse),
        value=value,
        bound=bound,
        margin=margin(check),
        verdict=verdict,
        met=check.met,
        remark="; ".join(each for each in (uncertainty(check), check.note) if each),
        is_gain=is_gain(check),
    )


def is_gain(check: Check) -> bool:
    """Tell whether the network is better than the teacher by a metric that may get worse."""
    return check.name.endswith(DROP) and check.value is not None and exceeds(0, check.value) and check.bound >= 0


def _name(check: Check, metric: Metric | None, worse: str) -> str:
    if check.name.endswith(DROP):
        title = metric.title if metric else check.name.removesuffix(DROP).replace("_", " ")
        return title if is_gain(check) else f"{title} {worse}"
    return re.sub("_(ms|mb|mj|ratio)$", "", check.name).replace("_", " ")


def shown(check: Check, worse: str = "drop") -> tuple[str, str]:
    """Format the value with its unit, and the bound in words, with digits enough to tell them apart.

    Args:
        worse: what a metric does that gets worse: a drop, or a rise of one of which less is better.
    """
    if check.name in RATIOS:
        return shown_ratio(check, *RATIOS[check.name])
    if check.value is not None and is_gain(check):
        allowed = f"a {worse} of {check.bound:.12g} is" if check.bound else f"no {worse} is"
        return f"{amount(-check.value, check.unit)} better than the teacher", f"{allowed} allowed"
    bound = f"at most {check.bound:.12g}{space(check.unit)}"
    if check.value is None:
        return ABSENT, bound
    # What differs by the rounding of binary fractions alone is the same.
    value = check.value if differ(check.value, check.bound) else check.bound
    return format_distinct([value, check.bound], significant, 3)[0] + space(check.unit), bound


def shown_ratio(check: Check, better: str, worse: str) -> tuple[str, str]:
    """Format a ratio to the teacher's figure and its bound as times faster or smaller."""
    most = "at least" if check.bound <= 1 else "at most"
    # What differs by the rounding of binary fractions alone is the same.
    value = check.value if check.value is not None and differ(check.value, check.bound) else check.bound
    texts = format_distinct([value, check.bound], lambda ratio, digits: in_times(ratio, better, worse, digits), 3)
    bound = re.sub(r"\.?0+(?=×)", "", texts[1]) if "." in texts[1] else texts[1]
    return ABSENT if check.value is None else texts[0], f"{most} {bound}"


def margin(check: Check) -> str:
    if check.value is None:
        return ABSENT
    if check.name in RATIOS:
        if not differ(check.value, check.bound):
            return "exactly the bound"
        if (times := check.value / check.bound) >= FAR:
            return f"{significant(times)}× what is allowed"
        share = significant(100 * abs(check.value / check.bound - 1), 2)
        return f"{share} % {WITHIN[check.name][not check.met]} than allowed"
    apart = abs(check.bound - check.value) if differ(check.value, check.bound) else 0.0
    return f"{amount(apart, check.unit)} {'to spare' if check.met else 'too much'}"


def uncertainty(check: Check) -> str:
    """Say that the samples are too few to tell whether the bound holds, or nothing."""
    if check.ci95 is None or exceeds(check.ci95[0], check.bound) or not exceeds(check.ci95[1], check.bound):
        return ""
    low, high = check.ci95
    between = f"{significant(low)} and {amount(high, check.unit)}"
    if is_gain(check):
        between = f"{amount(-low, check.unit)} better and {amount(high, check.unit)} worse"
    return f"{check.n} samples cannot tell: between {between} with 95 % confidence"


def amount(value: float, unit: str) -> str:
    return significant(value) + space(unit)


def space(unit: str) -> str:
    return unit if not unit or unit.startswith("×") else f" {unit}"


def sentences(report: Report) -> list[str]:
    """Return the sentences below the table of the rows."""
    return notes_on_rows(row.to_json() for row in report.rows)


class WarningLine(NamedTuple):
    """A warning in words, and its ``code`` for machines, empty where it has none."""

    text: str
    code: str

    def __str__(self) -> str:
        return f"{self.text} ({self.code})" if self.code else self.text


def warning_lines(report: Report) -> list[WarningLine]:
    """Return every warning of the report, then those of its rows, with one line for all rows of a code.

    A row's warning that the report has too, of the whole run, is not said again; nor is each class that lost.
    """
    lost = lost_line(report)
    others = [note for note in report.warnings if lost is None or note.code != lost.code]
    found = [*([lost] if lost else []), *folded(others)]
    known = {each.code for each in found}
    by_code: dict[str, list[tuple[Row, str]]] = {}
    for row in report.rows:
        for note in row.warnings:
            if note.code not in known:
                by_code.setdefault(note.code, []).append((row, note.message))
        if not row.valid and not row.warnings:
            found.append(WarningLine(f"{row_name(row)}: the measurement is not valid", ""))
    return found + [row_note(code, rows) for code, rows in by_code.items()]


def quality_lines(report: Report) -> list[WarningLine]:
    """Return the warnings on what the deployed network predicts much worse than the teacher."""
    breakdown = report.breakdown()
    codes = {each.code for each in breakdown.lost()} if breakdown else set()
    return [each for each in warning_lines(report) if each.code in codes]


def lost_line(report: Report) -> WarningLine | None:
    """Return one line for all classes or labels that the deployed network predicts much worse than the teacher."""
    breakdown = report.breakdown()
    # Further losses, such as at a threshold, have lines of their own.
    lost = [each for each in breakdown.lost() if each.code.endswith("_lost")] if breakdown else []
    if not lost or lost[0].code not in {note.code for note in report.warnings}:
        return None
    worst = sorted((each.change for each in lost), key=lambda change: change.gain)
    named = [f"{each.name} {each.show(each.before)} to {each.show(each.after)}" for each in worst[:MOST_OF_A_CODE]]
    more = [f"{len(worst) - MOST_OF_A_CODE} more"] if len(worst) > MOST_OF_A_CODE else []
    kinds = report.kind.kind_of_names
    of = f"of {len(report.data.classes)}" if report.data else "of the"
    verb = "is" if len(worst) == 1 else "are"
    said = f"{len(worst)} {of} {kinds} {verb} predicted much worse than by the teacher: {', '.join([*named, *more])}"
    return WarningLine(said, lost[0].code)


def folded(warnings: Sequence[Note]) -> Iterator[WarningLine]:
    """Yield the first few warnings of each code."""
    counts = Counter(note.code for note in warnings)
    seen: Counter[str] = Counter()
    for note in warnings:
        seen[note.code] += 1
        if seen[note.code] <= MOST_OF_A_CODE:
            yield WarningLine(note.message, note.code)
        elif seen[note.code] == counts[note.code]:
            yield WarningLine(f"{counts[note.code] - MOST_OF_A_CODE} more of this kind", note.code)


def row_note(code: str, rows: list[tuple[Row, str]]) -> WarningLine:
    (first, message), others = rows[0], rows[1:]
    if others and all(other == message for _, other in others):
        return WarningLine(f"{', '.join(dict.fromkeys(row.model for row, _ in rows))}: {message}", code)
    said = message if message.startswith(f"{first.model} ") else f"{row_name(first)}: {message}"
    # Their figures differ: the first row has its own, and the rest are named.
    names = (row.model if row.place == first.place else row_name(row) for row, _ in others)
    alike = ", ".join(name for name in dict.fromkeys(names) if name != first.model)
    return WarningLine(f"{said}; likewise {alike}" if alike else said, code)


def row_name(row: Row) -> str:
    return f"{row.model} ({row.precision}) on {row.place_text}"
