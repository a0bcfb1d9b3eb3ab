"""The cuts of the prune stage as text: what each left, in what time, and what was tried and refused."""

from dataclasses import replace

from edgekd.formatting import percent, significant
from edgekd.stages.prune.figures import CutFigures, CutTiming, KeptLayers
from edgekd.strict_json import JsonObject
from edgekd.tasks.registry import metric_named

MOST_SENSITIVE = 3


def describe(metrics: JsonObject) -> list[tuple[str, str]]:
    """Return headings and texts, none where the stage cut nothing."""
    cuts = [CutFigures.from_json(each) for each in metrics.get("cuts", [])]
    found = [((cut.name or "cut").replace("-", " ").capitalize(), _cut(cut)) for cut in cuts]
    if "floor" in metrics and found:
        figure = next((cut.figure for cut in cuts if cut.figure), None)
        floor = str(replace(figure, value=metrics["floor"])) if figure else percent(metrics["floor"])
        found.insert(0, ("Needed", f"{floor} on the validation samples"))
    return found + [("Most sensitive", text) for text in _sensitive(metrics)]


def _cut(cut: CutFigures) -> str:
    parts = [f"{percent(cut.kept)} of the {cut.of} kept"]
    if cut.dropped:
        parts.append(f"without {', '.join(cut.dropped)}")
    if cut.timing:
        parts.append(f"the deployed file takes {_timing(cut.timing)} of the uncut one's time")
    for refused in cut.refused or ():
        parts.append(f"widths in multiples of {refused.round_to} were slower: {_timing(refused)}")
    if cut.refused:
        parts.append(f"so widths are multiples of {cut.round_to}")
    if cut.tried and (others := len(cut.tried) - 1):
        parts.append(f"{others} other cut{'s' if others > 1 else ''} timed")
    if cut.left_whole:
        parts.append(f"unpruned: {'; '.join(map(_kept, cut.left_whole))}")
    if cut.figure is not None:
        parts.append(f"{cut.figure} after training, {'enough' if cut.met else 'not enough'}")
    return "; ".join(parts)


def _kept(layers: KeptLayers) -> str:
    return f"{', '.join(layers.layers)} ({layers.reason})"


def _timing(timing: CutTiming) -> str:
    predicted = f", predicted {percent(timing.predicted)}," if timing.predicted is not None else ""
    return f"{percent(timing.measured, timing.ci95)}{predicted}"


def _sensitive(metrics: JsonObject) -> list[str]:
    worst = [
        (each["uncut"] - cut["score"], each["layer"], cut["ratio"])
        for each in metrics.get("sensitivity", [])
        for cut in each["cuts"]
        if cut["score"] is not None
    ]
    worst.sort(reverse=True)
    named = metrics.get("sensitivity_of")
    found = [f"{layer} without {percent(ratio)}: {_lost(lost, named)}" for lost, layer, ratio in worst[:MOST_SENSITIVE]]
    return [", ".join(found)] if found else []


def _lost(amount: float, named: str | None) -> str:
    if named is None:
        return f"{100 * amount:.2f} points"
    metric = metric_named(named)
    return f"{significant(amount)} {metric.unit}".rstrip() + f" of {metric.title}"
