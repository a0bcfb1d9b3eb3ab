"""Checks of the options of logit losses."""

import math
from numbers import Real

from edgekd.errors import TrainingError


def check_temperature(temperature: float) -> None:
    """Raise a TrainingError if ``temperature`` is not above 0 and finite."""
    if not _is_number(temperature) or not 0 < temperature < math.inf:
        raise TrainingError(
            f"temperature must be a number above 0, got {temperature!r}: "
            "give 1 to take the logits as they are, more (4 is usual) to soften them"
        )


def check_weights(**weights: float) -> None:
    """Raise a TrainingError if a weight is below 0 or not finite, or if all are 0."""
    for name, weight in weights.items():
        if not _is_number(weight) or not 0 <= weight < math.inf:
            raise TrainingError(
                f"{name} must be a number of at least 0, got {weight!r}: give 0 to leave its part of the loss out"
            )
    if not any(weights.values()):
        raise TrainingError(
            f"{' and '.join(weights)} are all 0, and nothing is learned from the teacher: give one of them more than 0"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
