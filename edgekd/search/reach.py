"""The part of a space that its networks can reach, found on untrained networks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgekd.data import DataSet
from edgekd.errors import EdgekdError, RecipeError
from edgekd.formatting import percent
from edgekd.pipeline.plan import plan, trial_of
from edgekd.pipeline.start import starts_of
from edgekd.recipe.open_fields import OpenRange
from edgekd.search.space import ARM, Arm, Dimension, Space, located
from edgekd.stages.work import WORK

# Ends of ranges are shares in steps of this.
STEP = 0.005


@dataclass(frozen=True)
class Reach:
    """A space whose cuts can all be made.

    Attributes:
        left_out: why an arm that was not asked for is not in the space, by its name.
        narrowed: the ranges that were narrowed, by the arm's name.
    """

    space: Space
    left_out: Mapping[str, str]
    narrowed: Mapping[str, str]


def within_reach(space: Space, data: DataSet) -> Reach:
    """Limit each cut of ``space`` to what its network can reach, and leave out arms that cannot be.

    Networks are built and run on a few samples of ``data``, and none is trained. Where a cut is by latency, layers that
    the target's table lacks are timed.

    Raises:
        RecipeError: an arm that the recipe asks for cannot be, or all of a range is out of reach; with a line for each.
            Or no arm is left.
    """
    arms: list[Arm] = []
    left_out, narrowed, mistakes = {}, {}, {}
    for arm in space.arms:
        try:
            reached = _reached(space, arm, data)
        except EdgekdError as error:
            if arm.assumed:
                left_out[arm.name] = str(error)
            else:
                mistakes[str(error)] = arm.name
            continue
        arms.append(reached)
        pairs = zip(arm.dimensions, reached.dimensions, strict=True)
        words = [f"{new.name} from {new.values}" for old, new in pairs if new.values != old.values]
        if words:
            narrowed[arm.name] = ", ".join(words)
    if mistakes:
        raise RecipeError("\n".join(mistakes))
    if not arms:
        reasons = [f"{name}: {reason}" for name, reason in left_out.items()]
        raise RecipeError("\n".join([f"{space.path}: no student can be made; write student and stages", *reasons]))
    return Reach(replace(space, arms=tuple(arms)), left_out, narrowed)


def _reached(space: Space, arm: Arm, data: DataSet) -> Arm:
    recipe = space.recipe({ARM: arm.name})
    starts = starts_of(recipe, data)
    dimensions = []
    for dimension in arm.dimensions:
        if dimension.is_cut:
            index = located(arm.document, dimension.path)[1]
            assert isinstance(index, int)
            stage = recipe.stages[index]
            least = WORK[stage.name].least
            if least is not None:
                trial = trial_of(recipe, stage, starts, len(data.train), data.task)
                dimension = _above(dimension, least(stage, trial, str(dimension.path[-1])), arm)
        dimensions.append(dimension)
    plan(recipe, data)
    return replace(arm, dimensions=tuple(dimensions))


def _above(dimension: Dimension, least: float, arm: Arm) -> Dimension:
    values = dimension.values
    assert isinstance(values, OpenRange)
    low = math.ceil(least / STEP) * STEP
    if values.low >= low:
        return dimension
    if low >= values.high:
        place = "" if arm.assumed else f"{dimension.place}: "
        raise RecipeError(
            f"{place}{dimension.name}: {arm.name} keeps {percent(least)} at least, and the search goes from {values}; "
            "raise the range, or leave it out"
        )
    return replace(dimension, values=replace(values, low=round(low, 6)))
