"""The columns of the page's smaller tables; those of rows are in :mod:`edgekd.formatting`."""

from collections.abc import Iterable

from edgekd.formatting import ABSENT, Column, between, percent, runtime_text, significant
from edgekd.report.profile import LayersUnderRoofs
from edgekd.report.schema import ParityRecord, Row
from edgekd.tasks.metric import Metric

LAYERS = (
    Column("Layer", lambda layer: str(layer.name), number=False),
    Column("Operator", lambda layer: str(layer.op), number=False),
    Column("Precision", lambda layer: str(layer.precision), number=False),
    Column("Time µs", lambda layer: significant(1000 * layer.ms)),
    Column("Share", lambda layer: percent(layer.of_total)),
    Column("Limit µs", lambda layer: significant(1000 * layer.limit_ms)),
    Column("Bound by", lambda layer: str(layer.bound), number=False),
)
WIDTHS = (
    Column("Layer", lambda width: str(width.layer), number=False),
    Column("Before", lambda width: str(width.before)),
    Column("After", lambda width: str(width.after)),
    Column("Kept", lambda width: percent(width.after / width.before)),
)
PARITY = (
    Column("Model", lambda parity: parity.model, number=False),
    Column("Runtime", lambda parity: runtime_of(parity), number=False),
    Column("Same prediction", lambda parity: percent(parity.agreement)),
    Column("Largest difference", lambda parity: two_digits(parity.max_abs_difference)),
    Column("Mean, in steps", lambda parity: two_digits(parity.mean_steps)),
    Column("Samples", lambda parity: str(parity.n)),
)


def step_columns(metric: Metric) -> list[Column]:
    return [
        Column("Network", lambda step: f"{step.model}, after {step.before}", number=False),
        Column(metric.heading, lambda step: step.metric),
        Column("Params", lambda step: step.params),
        Column("MACs", lambda step: step.macs),
        Column("Size", lambda step: step.size),
        Column("Latency", lambda step: step.latency),
    ]


def runtime_of(parity: ParityRecord) -> str:
    named = runtime_text(parity.runtime, parity.profile)
    plain = named != parity.runtime or parity.profile in (None, "float")
    written_for = "" if plain else f", file for {parity.profile}"
    return f"{named}{written_for}{f'; departs at {parity.departs_at}' if parity.departs_at else ''}"


def two_digits(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.2g}"


def precision_sentence(profile: LayersUnderRoofs) -> str:
    """Say how many of the layers that multiply run in which precision."""
    computing = [layer.precision for layer in profile.layers if layer.macs]
    counted = [f"{computing.count(name)} in {name}" for name in dict.fromkeys(computing)]
    return f"Of {len(computing)} layers that multiply, {' and '.join(counted)}." if computing else ""


def baseline_sentences(rows: Iterable[Row]) -> list[str]:
    """Return a sentence for each row that was timed in turns with a baseline's own file."""
    return [
        f"{row.model} on {row.place_text} takes {significant(found.ratio)}"
        f"{between(found.ci95, significant)} times as long as the baseline's file "
        f"{found.baseline_sha256[:12]}, timed in turns{'' if found.valid else ' (disturbed measurement)'}."
        for row in rows
        if (found := row.latency_vs_baseline)
    ]
