"""The steps of precision escalation as the report has them, and as text: what each gave, and why the next was tried."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgekd.formatting import percent
from edgekd.stages.validation import ValidationFigure
from edgekd.strict_json import JsonObject, build_record, known_to_json

NAMES = {"half": "Half precision", "ptq": "Post-training", "qat": "Quantisation-aware training", "mixed": "Mixed"}


@dataclass(frozen=True)
class EscalationStep:
    """A step that was tried with the figure on the validation samples that it gave, or ``skipped`` for a reason.

    Attributes:
        rung: the step's name.
        met: whether the figure is enough.
        calibration, corrections: what post-training quantisation used.
        kept: whether trained weights were kept.
        float_layers: the layers that were left in float.
    """

    rung: str
    figure: ValidationFigure | None = None
    met: bool | None = None
    skipped: str | None = None
    calibration: str | None = None
    corrections: Sequence[str] | None = None
    kept: bool | None = None
    float_layers: Sequence[str] | None = None

    def to_json(self) -> JsonObject:
        document = known_to_json(replace(self, figure=None))
        if self.figure is not None:
            document |= self.figure.to_json()
        if self.corrections is not None:
            document["with"] = document.pop("corrections")
        return document

    @classmethod
    def from_json(cls, document: JsonObject) -> "EscalationStep":
        return build_record(
            cls, document, corrections=document.get("with"), figure=ValidationFigure.from_json(document)
        )


def describe(metrics: JsonObject) -> list[tuple[str, str]]:
    """Return headings and texts, none where nothing was tried."""
    steps = [EscalationStep.from_json(each) for each in metrics.get("rungs", [])]
    if not steps:
        return []
    found = [(NAMES.get(each.rung, each.rung), _step(each)) for each in steps]
    stopped = NAMES.get(metrics["stopped"], metrics["stopped"])
    why = "enough" if any(each.met for each in steps) else "nothing above it is left to try"
    figure = next((each.figure for each in steps if each.figure), None)
    floor = str(replace(figure, value=metrics["floor"])) if figure else percent(metrics["floor"])
    needed = f"{floor} on the validation samples: {metrics['why_floor']}"
    layers = metrics.get("float_layers") or []
    in_float = [("Layers in float", ", ".join(layers))] if layers else []
    return [("Needed", needed), *found, ("Stopped at", f"{stopped}: {why}"), *in_float]


def _step(step: EscalationStep) -> str:
    if step.figure is None:
        return f"left out: {step.skipped}"
    used = [*([step.calibration] if step.calibration else []), *(step.corrections or ())]
    how = f" ({', '.join(used).replace('_', ' ')})" if used else ""
    layers = f", {len(step.float_layers)} layers in float" if step.float_layers else ""
    undone = f"; training lost {step.figure.metric.title} and was undone" if step.kept is False else ""
    return f"{step.figure}{layers}{how}, {'enough' if step.met else 'not enough'}{undone}"
