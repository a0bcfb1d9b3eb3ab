"""The steps of precision escalation as the report has them, and as text: what each gave, and why the next was tried."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgekd.formatting import percent
from edgekd.stages.validation import ValidationFigure
from edgekd.strict_json import JsonObject, build_record, known_to_json
from edgekd.tasks.registry import metric_named

NAMES = {"half": "Half precision", "ptq": "Post-training", "qat": "Quantisation-aware training", "mixed": "Mixed"}


@dataclass(frozen=True)
class EscalationStep:
    """A step that was tried with the figures on the validation samples that it gave, or ``skipped`` for a reason.

    Attributes:
        rung: the step's name.
        figure: of the task's first metric.
        met: whether the figures are enough.
        calibration, corrections: what post-training quantisation used.
        kept: whether trained weights were kept.
        float_layers: the layers that were left in float.
        further: the figures of other metrics that the budget bounds.
    """

    rung: str
    figure: ValidationFigure | None = None
    met: bool | None = None
    skipped: str | None = None
    calibration: str | None = None
    corrections: Sequence[str] | None = None
    kept: bool | None = None
    float_layers: Sequence[str] | None = None
    further: Sequence[ValidationFigure] | None = None

    def to_json(self) -> JsonObject:
        document = known_to_json(replace(self, figure=None, further=None))
        if self.further is not None:
            document["further"] = [each.to_json() for each in self.further]
        if self.figure is not None:
            document |= self.figure.to_json()
        if self.corrections is not None:
            document["with"] = document.pop("corrections")
        return document

    @classmethod
    def from_json(cls, document: JsonObject) -> "EscalationStep":
        further = [ValidationFigure.from_json(each) for each in document.get("further", ())]
        return build_record(
            cls,
            document,
            corrections=document.get("with"),
            figure=ValidationFigure.from_json(document),
            further=[each for each in further if each is not None] or None,
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
    needed = [("Needed", f"{floor} on the validation samples: {metrics['why_floor']}")]
    for name, about in (metrics.get("further_floors") or {}).items():
        metric = metric_named(name)
        needed.append((f"Needed of {metric.title}", f"{metric.shown(about['floor'])}: {about['why']}"))
    layers = metrics.get("float_layers") or []
    in_float = [("Layers in float", ", ".join(layers))] if layers else []
    return [*needed, *found, ("Stopped at", f"{stopped}: {why}"), *in_float]


def _step(step: EscalationStep) -> str:
    if step.figure is None:
        return f"left out: {step.skipped}"
    used = [*([step.calibration] if step.calibration else []), *(step.corrections or ())]
    how = f" ({', '.join(used).replace('_', ' ')})" if used else ""
    layers = f", {len(step.float_layers)} layers in float" if step.float_layers else ""
    undone = f"; training lost {step.figure.metric.title} and was undone" if step.kept is False else ""
    further = "".join(f", {each.metric.title} {each}" for each in step.further or ())
    return f"{step.figure}{further}{layers}{how}, {'enough' if step.met else 'not enough'}{undone}"
