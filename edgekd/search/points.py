"""From a share and a length of training to a point of a space, and to its recipe."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from math import sqrt

from edgekd.recipe import Recipe, Student
from edgekd.recipe.open_fields import OpenRange
from edgekd.search.arm_state import ArmSpace
from edgekd.search.space import ARM, Arm, Dimension, Space
from edgekd.stages import Stage
from edgekd.stages.distill.options import Distill
from edgekd.stages.prune.options import Prune
from edgekd.stages.quantize.options import Quantize
from edgekd.stages.targets import compute_float16

# Trainings whose longest is so many times the shortest have a length between the two.
THREE_LEVELS = 4.0
# What stages do to the weights alone is left out where costs are asked for: a file's time and size hardly depend on it.
UNTRAINED: Mapping[str, Mapping[str, object]] = {
    Distill.name: {"epochs": 0, "generations": 1, "views": None},
    Prune.name: {"epochs": 0, "step_epochs": 0, "sparse": None, "sensitivity": None, "check_latency": False},
    Quantize.name: {
        "epochs": 0,
        "rungs": ("ptq",),
        "calibration": "minmax",
        "calibration_batches": 1,
        "bias_correction": False,
        "equalize": False,
        "adaround": 0,
    },
}


def arm_space(arm: Arm) -> ArmSpace:
    """Return the shares of ``arm``'s cut and how many lengths of training it has."""
    cut, lengths = arm.cut, [_ends(each) for each in arm.dimensions if each.is_training]
    longest = max((high / max(low, 1) for low, high in lengths), default=1.0)
    levels = 1 if longest <= 1 else 2 if longest < THREE_LEVELS else 3
    low, high = _ends(cut) if cut else (1.0, 1.0)
    fields = tuple((each.name, _values(each)) for each in arm.dimensions if _is_tuned(each))
    return ArmSpace(arm.name, low, high, levels, fields)


@dataclass(frozen=True)
class Points:
    """The points of a space by arm, share and level."""

    space: Space

    def point(self, arm: str, share: float, level: int, choices: Mapping[str, object]) -> dict[str, object]:
        """Return the point at which ``arm`` keeps ``share`` and is trained for the length of ``level``."""
        own = next(each for each in self.space.arms if each.name == arm)
        top, cut = arm_space(own).top, own.cut
        lengths = {each.name: _length(each, level / top if top else 1.0) for each in own.dimensions if each.is_training}
        return {ARM: arm, **({cut.name: share} if cut else {}), **lengths, **choices}

    def recipe(self, arm: str, share: float, level: int, choices: Mapping[str, object]) -> Recipe:
        """Return the recipe of :meth:`point`."""
        return self.space.recipe(self.point(arm, share, level, choices))

    def trial(self, arm: str, share: float, level: int, choices: Mapping[str, object]) -> Recipe:
        """Return the same up to where the network is quantised, if another training of ``arm`` is longer."""
        whole = self.recipe(arm, share, level, choices)
        top = next(arm_space(each).top for each in self.space.arms if each.name == arm)
        floats = tuple(takewhile(_gives_float, whole.stages))
        return whole.model_copy(update={"stages": floats}) if level < top and floats else whole

    def is_filed(self, arm: str, share: float, level: int, choices: Mapping[str, object]) -> bool:
        """Tell whether :meth:`trial` is the whole recipe, so that its last network becomes a file."""
        return self.trial(arm, share, level, choices) == self.recipe(arm, share, level, choices)

    def alike(self) -> dict[str, str]:
        """Return for each arm the first one that starts from the same network, itself if it is that."""
        first: dict[str, Student | None] = {}
        found = {}
        for arm in self.space.arms:
            student = self.space.recipe({ARM: arm.name}).student
            found[arm.name] = next((name for name, known in first.items() if known == student), arm.name)
            first.setdefault(found[arm.name], student)
        return found

    def untrained(self, arm: str, share: float) -> Recipe:
        """Return the recipe of ``arm`` at ``share`` without any training of the student."""
        return _without_training(self.recipe(arm, share, 0, {}))


def _is_tuned(dimension: Dimension) -> bool:
    """Other open fields are compared in short trainings."""
    return not (dimension.is_cut or dimension.is_training)


def _values(dimension: Dimension) -> tuple[object, ...]:
    values = dimension.values
    if not isinstance(values, OpenRange):
        return tuple(values.examples)
    low, high = float(values.low), float(values.high)
    between = sqrt(low * high) if values.log else (low + high) / 2
    # Two whole numbers have none between them.
    return tuple(dict.fromkeys(round(each) if values.whole else each for each in (high, between, low)))


def _ends(dimension: Dimension) -> tuple[float, float]:
    values = dimension.values
    assert isinstance(values, OpenRange)
    return float(values.low), float(values.high)


def _length(dimension: Dimension, along: float) -> int:
    low, high = _ends(dimension)
    least = max(low, 1.0)
    return round(least * (high / least) ** along) if along or low else 0


def is_placed_by_measurement(recipe: Recipe) -> bool:
    """Tell whether the winner's file may be one in float, because its int8 layers are placed by measurement."""
    return any(isinstance(stage, Quantize) and stage.placement == "measured" for stage in recipe.stages)


def _gives_float(stage: Stage) -> bool:
    return stage.gives == "float"


def _without_training(recipe: Recipe) -> Recipe:
    half = compute_float16(recipe.targets)
    return recipe.model_copy(update={"stages": tuple(_stage_without_training(each, half) for each in recipe.stages)})


def _stage_without_training(stage: Stage, computes_float16: bool) -> Stage:
    settings = UNTRAINED.get(stage.name, {"epochs": 0})
    if isinstance(stage, Quantize):
        if set(stage.rungs) == {"half"}:
            return stage
        if "half" in stage.rungs and computes_float16:
            # It loses nothing to float32, so the ladder hardly ever goes on from it.
            settings = {**settings, "rungs": ("half",)}
    return stage.model_copy(update=settings)
