"""Descriptions of the pictures in words, for those who do not see them."""

from collections.abc import Mapping, Sequence

from edgekd.formatting import between, percent, significant, size
from edgekd.report.labels import row_labels
from edgekd.report.pareto import fronts
from edgekd.report.profile import LayersUnderRoofs
from edgekd.report.schema import LayerWidth, Row
from edgekd.tasks.metric import Metric


def metric_alt(rows: Sequence[Row], metric: Metric) -> str:
    known = [(row, row.own_ms) for row in rows if row.figure(metric) is not None and row.own_ms is not None]
    labels = row_labels([row for row, _ in known])
    described = [
        f"{label}: {metric.shown(row.figure(metric), row.interval(metric))} at {significant(time.p50)} ms"
        + between(time.ci95_p50, significant)
        for (row, time), label in zip(known, labels, strict=True)
    ]
    best = [row for each in fronts(rows, metric) for row in each]
    on_front = [label for (row, _), label in zip(known, labels, strict=True) if any(row is one for one in best)]
    return (
        f"{metric.heading} against the median time of an inference, with 95 % intervals. {'; '.join(described)}. "
        f"On the Pareto front: {', '.join(on_front)}."
    )


def size_alt(rows: Sequence[Row]) -> str:
    known = [row for row in rows if row.size_bytes is not None]
    described = [f"{label}: {size(row.size_bytes)}" for row, label in zip(known, row_labels(known), strict=True)]
    return "File sizes. " + "; ".join(described) + "."


def history_alt(history: Sequence[Mapping[str, float]], metric: Metric) -> str:
    last = history[-1]
    agreement = f", in agreement with the teacher on {percent(last['agreement'])}" if "agreement" in last else ""
    return (
        f"Curves over {len(history)} epochs, ending at a loss of {significant(last.get('loss'))} and "
        f"a validation {metric.title} of {metric.shown(last.get(f'validation_{metric.name}'))}{agreement}."
    )


def widths_alt(widths: Sequence[LayerWidth]) -> str:
    before, after = sum(width.before for width in widths), sum(width.after for width in widths)
    return f"Channels of {len(widths)} layers, {before} before and {after} after in all."


def roofline_alt(profile: LayersUnderRoofs, most: int = 3) -> str:
    named = [
        f"{each.name}: {significant(each.ms)} ms, of which {significant(each.limit_ms)} ms are the limit"
        for each in profile.worst(most)
    ]
    return (
        f"Roofline of {profile.model}: it runs at {percent(profile.summary.share)} of what the machine could do. "
        f"The most is to be won in {'; '.join(named)}."
    )
