"""A stage's figure on the validation samples, by which it chose: the task's first metric."""

import math
from dataclasses import dataclass

from edgekd.strict_json import JsonObject
from edgekd.tasks.metric import NO_NUMBER, Metric
from edgekd.tasks.registry import metric_named

KEY = "validation_"


@dataclass(frozen=True)
class ValidationFigure:
    """A network's value of a metric on the validation samples; ``validation_accuracy`` and so on in JSON.

    It is NaN where outputs are not finite, and null in JSON.
    """

    metric: Metric
    value: float

    def to_json(self) -> JsonObject:
        return {f"{KEY}{self.metric.name}": None if math.isnan(self.value) else self.value}

    @classmethod
    def from_json(cls, document: JsonObject) -> "ValidationFigure | None":
        """Read the figure of a stage's record, or None if the record has none."""
        key = next((name for name in document if name.startswith(KEY)), None)
        if key is None:
            return None
        value = document[key]
        return cls(metric_named(key.removeprefix(KEY)), math.nan if value is None else value)

    def __str__(self) -> str:
        return NO_NUMBER if math.isnan(self.value) else self.metric.shown(self.value)
