"""Numbers as text for people, the same everywhere.

A value that was not measured is shown as a dash.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from edgekd import plain_text

Row = Mapping[str, Any]

ABSENT = "–"
# What binary fractions leave behind: 0.1 + 0.2 is no more than 0.3.
NOISE = 1e-12
MOST_DIGITS = 15
# What emulates a runtime computes what the file says, step by step.
UNOPTIMISED, BY_EMULATION = ", unoptimised", "by emulation"
# A cost that is as near as this to the latency is not shown beside it.
ALIKE = 0.02
# Of a ratio that says nothing.
UNCHANGED = "1.00×"


def exceeds(value: float, bound: float) -> bool:
    """Tell whether ``value`` is above ``bound`` by more than the rounding of binary fractions."""
    return value > bound and not math.isclose(value, bound, rel_tol=NOISE, abs_tol=NOISE)


def format_distinct(values: Sequence[float], write: Callable[[float, int], str], digits: int) -> list[str]:
    """Format ``values`` with ``digits`` digits, or with as many more as make unequal ones read differently."""
    pairs = [(a, b) for a in range(len(values)) for b in range(a) if differ(values[a], values[b])]
    texts = [write(value, digits) for value in values]
    while digits < MOST_DIGITS and any(texts[a] == texts[b] for a, b in pairs):
        digits += 1
        texts = [write(value, digits) for value in values]
    return texts


def differ(a: float, b: float) -> bool:
    """Tell whether two values differ by more than the rounding of binary fractions."""
    return exceeds(a, b) or exceeds(b, a)


def percent(fraction: float | None, interval: Sequence[float] | None = None) -> str:
    """Format a share of one and its interval as ``97.2 % (95.9–98.1)``; 100 % and 0 % are exact."""
    if fraction is None:
        return ABSENT
    return f"{hundredths(fraction)} %" + between(interval, hundredths)


def hundredths(fraction: float, digits: int = 1) -> str:
    """Format 0.999 as ``99.9``, with more digits where it would read 100.0 or 0.0 and is neither."""
    return format_distinct([fraction, 0, 1], in_hundredths, digits)[0]


def in_hundredths(fraction: float, places: int) -> str:
    """Format 0.999 as ``99.9`` with that many decimal places."""
    # Without the sign of a zero.
    return f"{round(100 * fraction, places) + 0.0:.{places}f}"


def between(interval: Sequence[float] | None, write: Callable[[float], str]) -> str:
    """Format an interval as `` (95.9–98.1)``, or as nothing if there is none."""
    return f" ({write(interval[0])}–{write(interval[1])})" if interval else ""


def points(value: float, interval: Sequence[float] | None = None) -> str:
    """Format a difference as ``−1.4 points (−2.9 to +0.1)``, with a true minus sign."""
    return f"{signed(value)} points" + (f" ({signed(interval[0])} to {signed(interval[1])})" if interval else "")


def signed(value: float) -> str:
    return f"{value:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0").replace("-", "−")


def significant(value: float | None, digits: int = 3) -> str:
    """Format ``value`` with three significant digits and no exponent: 0.0412, 4.12, 41.2, 4120."""
    if value is None:
        return ABSENT
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    exponent = int(f"{abs(rounded):e}".split("e")[1])
    return f"{rounded:.{max(0, digits - 1 - exponent)}f}"


def shortest(value: float, digits: int = 3) -> str:
    """Format ``value`` with up to as many significant digits and no exponent: 0.01, 4.1, 50, 4120."""
    text = significant(value, digits)
    return text.rstrip("0").rstrip(".") if "." in text else text


def places_for(value: float, least: int) -> int:
    """Return the number of decimal places that leave ``value`` three significant digits, at least ``least``."""
    return max(least, 2 - math.floor(math.log10(abs(value)))) if value else least


def scaled(value: float | None, units: Sequence[str]) -> str:
    """Format ``value`` in the largest of ``units`` (each 1000 times the one before) that leaves it at least 1."""
    if value is None:
        return ABSENT
    step = 0
    while step < len(units) - 1 and abs(value) >= 999.5:
        value, step = value / 1000, step + 1
    text = str(value) if isinstance(value, int) else significant(value)
    return f"{text} {units[step]}".rstrip()


def size(count: float | None) -> str:
    """Format bytes in decimal units: ``1.23 MB`` is 1,230,000 bytes."""
    return scaled(count, ("B", "kB", "MB", "GB", "TB"))


def count(number: float | None) -> str:
    """Format a count: ``1.23 M`` is 1,230,000."""
    return scaled(number, ("", "k", "M", "G", "T"))


def times_faster(ratio: float | None, interval: Sequence[float] | None = None) -> str:
    """Format the speed-up ``4.1× (3.9–4.3)`` from the ratio of student time to teacher time and its interval."""
    if not ratio:
        return ABSENT
    low, high = interval or (0.0, 0.0)
    turned = [1 / high, 1 / low] if low and high else None
    return f"{significant(1 / ratio)}×" + between(turned, significant)


def in_times(ratio: float | None, better: str, worse: str, digits: int = 3) -> str:
    """Format the ratio of a new value to an old one, of which less is better, as ``4.1× faster`` or ``1.3× slower``."""
    if not ratio:
        return ABSENT
    return f"{significant(1 / ratio if ratio <= 1 else ratio, digits)}× {better if ratio <= 1 else worse}"


def stands_apart(cost: float, latency: float) -> bool:
    """Tell whether other processes made an inference visibly longer than its cost."""
    return abs(cost / latency - 1) > ALIKE


class Column(NamedTuple):
    """A column of a table of ``rows``: its heading, and the text of its cell in each row."""

    heading: str
    cell: Callable[[Any], str]
    number: bool = True


def part(key: str, *, of: str) -> Callable[[Row], Any]:
    """Return the reader of ``key`` in the part ``of`` a row, which gives None where that is absent."""
    return lambda row: (row.get(of) or {}).get(key)


def milliseconds(key: str) -> Callable[[Row], str]:
    """Return the formatter of a statistic of ``latency_ms``."""
    figure = part(key, of="latency_ms")
    return lambda row: significant(figure(row))


def _cost(row: Row) -> str:
    cost = part("p50", of="cost_ms")(row)
    return significant(cost) + between(part("ci95_p50", of="cost_ms")(row), significant)


def notes_on_rows(rows: Iterable[Row]) -> list[str]:
    """Return the sentences below a table of ``rows``: how costs, and places by emulation, are to be read."""
    rows = list(rows)
    found = [COST_SENTENCE] if shows_costs(rows) else []
    return found + ([EMULATED_SENTENCE] if any(map(is_emulated, rows)) else [])


def shows_costs(rows: Iterable[Row]) -> bool:
    """Tell whether other processes made an inference of some row visibly longer than its cost."""
    figures = [(part("p50", of="cost_ms")(row), part("p50", of="latency_ms")(row)) for row in rows]
    return any(cost and latency and stands_apart(cost, latency) for cost, latency in figures)


def _against_teacher(row: Row) -> str:
    against = row.get("latency_vs_teacher") or {}
    return times_faster(against.get("ratio"), against.get("ci95"))


def runtime_text(runtime: str, built_for: str | None = None, emulated: bool = False) -> str:
    """Name the runtime of a row's figures, or the one that was emulated where it is not here."""
    if not (emulated or runtime.endswith(UNOPTIMISED)):
        return runtime
    return f"{built_for} ({BY_EMULATION})" if built_for else BY_EMULATION


def place_text(row: Row) -> str:
    """Name the place of a row's figures: ``cpu, onnxruntime, 1 thread``, or ``orin, tensorrt (by emulation)``."""
    threads = row.get("threads")
    counted = [f"{threads} thread{'s' if threads != 1 else ''}"] if threads else []
    return ", ".join([_where(row), *counted])


def _runtime(row: Row) -> str:
    built_for = row.get("emulates") or row.get("built_for")
    if built_for and row.get("built_for_device"):
        # A profile's name begins with that of its runtime, which is the target's in the recipe.
        built_for = built_for.partition("-")[0]
    return runtime_text(row.get("runtime") or ABSENT, built_for, is_emulated(row))


def is_emulated(row: Row) -> bool:
    """Tell whether the figures of a row are by emulation of a runtime that is not here."""
    return row.get("emulates") is not None or (row.get("runtime") or "").endswith(UNOPTIMISED)


def _where(row: Row) -> str:
    # An emulated file's own device is not known to reports of before, and this machine is not it.
    device = row.get("built_for_device") if is_emulated(row) else _device(row)
    return ", ".join([*([device] if device else []), _runtime(row)])


def _device(row: Row) -> str:
    return row.get("built_for_device") or row.get("device") or ABSENT


COST = Column("Cost ms", lambda row: significant(part("p50", of="cost_ms")(row)))
COST_SENTENCE = (
    "p50 and p99 are latencies as a user saw them at that moment; the cost is without the time that other processes "
    "took, and ratios are of costs."
)
NAMES = (
    Column("Model", lambda row: row["model"] + ("" if row.get("valid", True) else " (!)"), number=False),
    Column("Runtime", _runtime, number=False),
    Column("Device", _device, number=False),
    Column("Precision", lambda row: row["precision"], number=False),
)
# Instead of device and runtime, where a table is narrow.
WHERE = Column("Where", _where, number=False)
EMULATED_SENTENCE = f"{BY_EMULATION}: the file for that device, computed step by step on this machine."
RESULTS = (
    Column("Size", lambda row: size(row.get("size_bytes"))),
    Column("Params", lambda row: count(row.get("params"))),
    Column("MACs", lambda row: count(row.get("macs"))),
    Column("p50 ms", milliseconds("p50")),
    COST,
    Column("Times faster", _against_teacher),
)
ENERGY = Column("Energy mJ", lambda row: significant(row.get("energy_mj")))
COST_IN_DETAIL = Column(COST.heading, _cost)
DETAILS = (
    Column(
        "p50 ms",
        lambda row: milliseconds("p50")(row) + between(part("ci95_p50", of="latency_ms")(row), significant),
    ),
    Column("p90 ms", milliseconds("p90")),
    Column("p99 ms", milliseconds("p99")),
    COST_IN_DETAIL,
    Column("Timed runs", lambda row: str(part("n", of="latency_ms")(row) or ABSENT)),
    Column("In int8", lambda row: percent(row.get("int8_coverage"))),
    Column("Peak memory", lambda row: size(row.get("peak_rss_bytes"))),
    ENERGY,
    Column("Tested on", lambda row: str(row.get("n") or ABSENT)),
    Column("File", lambda row: row.get("file") or ABSENT, number=False),
)

CALIBRATION = (
    Column("Calibration error", lambda row: percent(row.get("expected_calibration_error"))),
    Column("Negative log likelihood", lambda row: significant(row.get("negative_log_likelihood"))),
)


def columns(rows: Iterable[Row], results: Sequence[Column]) -> list[Column]:
    """Return the columns to show.

    The device is shown only where rows differ in it, the energy only where one has it, the cost only where other
    processes made it stand apart from the latency.
    """
    rows = list(rows)
    kept = {
        "Device": len(set(map(_device, rows))) > 1,
        ENERGY.heading: any(row.get("energy_mj") for row in rows),
        COST.heading: shows_costs(rows),
    }
    return [column for column in (*NAMES, *results) if kept.get(column.heading, True)]


def escape_markdown(text: str) -> str:
    """Return ``text`` as plain words for a Markdown line or table cell, whatever it holds."""
    return plain_text.markdown(text)


def markdown_table(shown: Sequence[Column], rows: Iterable[Any]) -> str:
    """Return a table of GitHub's Markdown."""
    lines = [
        "| " + " | ".join(column.heading for column in shown) + " |",
        "|" + "|".join("---:" if column.number else "---" for column in shown) + "|",
    ]
    for row in rows:
        lines.append("| " + " | ".join(escape_markdown(column.cell(row)) for column in shown) + " |")
    return "\n".join(lines)
