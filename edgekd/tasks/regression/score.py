"""Values from standardised outputs. NumPy alone, for readers of bundles without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.errors import DataError
from edgekd.tasks.ranking import NOT_FINITE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgekd.strict_json import JsonObject
    from edgekd.tasks.task import Language

    Arrays = Mapping[str, NDArray[Any]]
    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]


PYTHON = """
mean = [{mean}]
deviation = [{deviation}]
for label, output, middle, scale in zip(labels, logits, mean, deviation):
    print(label, middle + scale * output)
"""
CPP = """
const double mean[] = {{{mean}}};
const double deviation[] = {{{deviation}}};
for (size_t i = 0; i < labels.size(); i++) {{
  std::printf("%s %g\\n", labels[i].c_str(), mean[i] + deviation[i] * logits[i]);
}}
"""


@dataclass(frozen=True, eq=False)
class ValuePredictions:
    """``values`` (N, values), or points (N, points, 2), in units; not finite where a network's outputs are not."""

    values: Floats


def decode(outputs: NDArray[Any], mean: Sequence[float], deviation: Sequence[float]) -> ValuePredictions:
    """Return mean + deviation · output; outputs (N, values)."""
    return ValuePredictions(np.asarray(mean) + np.asarray(deviation) * outputs.astype(np.float64))


def values_and_known(targets: Arrays) -> tuple[Floats, Bools]:
    """Return targets in float64, 0 where not known, and which of these entries are known."""
    values = np.asarray(targets["values"], np.float64)
    known = np.asarray(targets["known"], bool) if "known" in targets else ~np.isnan(values)
    return np.where(known, values, 0.0), known


def constant(targets: Arrays) -> list[int]:
    """Return the values that all samples have alike, where known."""
    values, known = values_and_known(targets)
    columns = (values[known[:, value], value] for value in range(values.shape[1]))
    return [value for value, own in enumerate(columns) if len(own) and own.min() == own.max()]


def near(ours: ValuePredictions, theirs: ValuePredictions, deviation: Sequence[float], share: float) -> Bools:
    """Return whose values (N,) are all nearer to each other than a ``share`` of their deviation."""
    apart = np.abs(ours.values - theirs.values).reshape(len(ours.values), -1)
    # NaN is near to nothing.
    within: NDArray[np.int64] = (apart <= share * np.asarray(deviation)).sum(1)
    return within == apart.shape[1]


@dataclass(frozen=True)
class PredictedValues:
    """The values of one sample by name, None where they are not finite."""

    values: Mapping[str, float | None]

    def to_json(self) -> JsonObject:
        return {"values": dict(self.values)}

    def to_text(self) -> str:
        shown = (f"{name} {'not finite' if value is None else f'{value:.6g}'}" for name, value in self.values.items())
        return NOT_FINITE if set(self.values.values()) == {None} else ", ".join(shown)

    def to_cells(self) -> dict[str, str]:
        return {name: "" if value is None else f"{value:.9g}" for name, value in self.values.items()}


def sample_predictions(predictions: ValuePredictions, names: Sequence[str]) -> list[PredictedValues]:
    """Return each sample's values by name."""
    return [
        PredictedValues(dict(zip(names, (value if np.isfinite(value) else None for value in row), strict=True)))
        for row in predictions.values.tolist()
    ]


def code(language: Language, mean: Sequence[float], deviation: Sequence[float]) -> str:
    """Return the lines that print each value in its units."""
    numbers = {"mean": mean, "deviation": deviation}
    written = {name: ", ".join(repr(float(each)) for each in values) for name, values in numbers.items()}
    return {"python": PYTHON, "cpp": CPP}[language].format(**written)


def must_be_values(targets: Arrays, shape: tuple[int, ...]) -> None:
    """Refuse targets that are not numbers (N, \\*shape), finite where known: DataError."""
    values = np.asarray(targets["values"])
    known = np.asarray(targets["known"]) if "known" in targets else ~np.isnan(values.astype(np.float64))
    if values.shape[1:] != shape or not len(values) or known.shape != values.shape or values.dtype.kind not in "biuf":
        raise DataError(f"targets are {values.dtype} {values.shape}, expected numbers {('N', *shape)}")
    if known.dtype != np.bool_:
        raise DataError(f"known is {known.dtype}, expected bool: True where a value is known")
    if not np.isfinite(values[known].astype(np.float64)).all():
        raise DataError("a target is not finite: where a value is not known, say so in 'known'")
