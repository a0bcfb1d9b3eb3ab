"""The cuts of the prune stage as text: what each left, in what time, and what was tried and refused."""

from collections.abc import Mapping
from typing import Any

from edgekd.formatting import percent


def describe(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return headings and texts, none where the stage cut nothing."""
    found = [(_heading(cut["name"]), _cut(cut)) for cut in metrics.get("cuts", [])]
    if "floor" in metrics and found:
        found.insert(0, ("Needed", f"{percent(metrics['floor'])} on the validation samples"))
    return found + [("Most sensitive", text) for text in _sensitive(metrics.get("sensitivity", []))]


def _heading(name: str) -> str:
    return name.replace("-", " ").capitalize()


def _cut(cut: Mapping[str, Any]) -> str:
    parts = [f"{percent(cut['kept'])} of the {cut['of']} kept"]
    if cut.get("dropped"):
        parts.append(f"without {', '.join(cut['dropped'])}")
    if timing := cut.get("timing"):
        parts.append(_timing(timing))
    for refused in cut.get("refused", []):
        parts.append(f"multiples of {refused['round_to']} were slower: {_timing(refused)}")
    if cut.get("refused"):
        parts.append(f"so widths are multiples of {cut['round_to']}")
    if tried := cut.get("tried", [])[:-1]:
        parts.append(f"{len(tried)} other cut{'s' if len(tried) > 1 else ''} timed")
    if unpruned := cut.get("left_whole"):
        parts.append(f"unpruned: {'; '.join(map(_unpruned, unpruned))}")
    if "validation_accuracy" in cut:
        parts.append(
            f"{percent(cut['validation_accuracy'])} after training, {'enough' if cut['met'] else 'not enough'}"
        )
    return "; ".join(parts)


def _unpruned(layers: Mapping[str, Any]) -> str:
    return f"{', '.join(layers['layers'])} ({layers['reason']})"


def _timing(timing: Mapping[str, Any]) -> str:
    predicted = f"{percent(timing['predicted'])} of the time predicted, " if "predicted" in timing else ""
    return f"{predicted}{percent(timing['measured'], timing.get('ci95'))} of the time measured"


def _sensitive(scan: list[Mapping[str, Any]], most: int = 3) -> list[str]:
    worst = [
        (each["uncut"] - cut["score"], each["layer"], cut["ratio"])
        for each in scan
        for cut in each["cuts"]
        if cut["score"] is not None
    ]
    worst.sort(reverse=True)
    found = [f"{layer} without {percent(ratio)}: {100 * lost:.2f} points" for lost, layer, ratio in worst[:most]]
    return [", ".join(found)] if found else []
