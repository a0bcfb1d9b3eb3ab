"""The steps of precision escalation as text: what each gave, and why the next was tried."""

from collections.abc import Mapping
from typing import Any

from edgekd.formatting import percent

NAMES = {"half": "Half precision", "ptq": "Post-training", "qat": "Quantisation-aware training", "mixed": "Mixed"}


def describe(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return headings and texts, none where nothing was tried."""
    steps = metrics.get("rungs", [])
    if not steps:
        return []
    found = [(NAMES.get(each["rung"], each["rung"]), _step(each)) for each in steps]
    stopped = NAMES.get(metrics["stopped"], metrics["stopped"])
    met = any(each.get("met") for each in steps)
    why = "enough" if met else "nothing above it is left to try"
    needed = f"{percent(metrics['floor'])} on the validation samples: {metrics['why_floor']}"
    layers = metrics.get("float_layers") or []
    in_float = [("Layers in float", ", ".join(layers))] if layers else []
    return [("Needed", needed), *found, ("Stopped at", f"{stopped}: {why}"), *in_float]


def _step(step: Mapping[str, Any]) -> str:
    if "skipped" in step:
        return f"left out: {step['skipped']}"
    used = [*([step["calibration"]] if "calibration" in step else []), *step.get("with", [])]
    how = f" ({', '.join(used).replace('_', ' ')})" if used else ""
    layers = f", {len(step['float_layers'])} layers in float" if step.get("float_layers") else ""
    undone = "; training lost accuracy and was undone" if step.get("kept") is False else ""
    return f"{percent(step['validation_accuracy'])}{layers}{how}, {'enough' if step['met'] else 'not enough'}{undone}"
