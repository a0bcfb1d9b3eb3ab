"""The rungs of the quantize stage as text: what each gave, and why the next was tried."""

from collections.abc import Mapping
from typing import Any

from edgekd.formatting import percent

NAMES = {"half": "Half precision", "ptq": "Post-training", "qat": "Quantisation-aware training", "mixed": "Mixed"}


def described(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return headings and texts, none where nothing was tried."""
    rungs = metrics.get("rungs", [])
    if not rungs:
        return []
    found = [(NAMES.get(each["rung"], each["rung"]), _told(each)) for each in rungs]
    stopped = NAMES.get(metrics["stopped"], metrics["stopped"])
    met = any(each.get("met") for each in rungs)
    why = "enough" if met else "nothing above it is left to try"
    needed = f"{percent(metrics['floor'])} on the validation samples: {metrics['why_floor']}"
    layers = metrics.get("float_layers") or []
    in_float = [("Layers in float", ", ".join(layers))] if layers else []
    return [("Needed", needed), *found, ("Stopped at", f"{stopped}: {why}"), *in_float]


def _told(rung: Mapping[str, Any]) -> str:
    if "skipped" in rung:
        return f"left out: {rung['skipped']}"
    used = [*([rung["calibration"]] if "calibration" in rung else []), *rung.get("with", [])]
    how = f" ({', '.join(used).replace('_', ' ')})" if used else ""
    layers = f", {len(rung['float_layers'])} layers in float" if rung.get("float_layers") else ""
    undone = "; training lost accuracy and was undone" if rung.get("kept") is False else ""
    return f"{percent(rung['validation_accuracy'])}{layers}{how}, {'enough' if rung['met'] else 'not enough'}{undone}"
