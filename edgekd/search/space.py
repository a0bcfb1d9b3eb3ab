"""The space of a search: the recipes that a recipe with open fields stands for."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekd.errors import RecipeError
from edgekd.nearest import among, nearest
from edgekd.options import Budget
from edgekd.recipe.load import recipe_of
from edgekd.recipe.open_fields import OpenChoice, OpenRange, OpenValues
from edgekd.recipe.schema import Recipe
from edgekd.recipe.tree import Loc, Origin, Tree, dotted

__all__ = ["ARM", "Arm", "Dimension", "OpenChoice", "OpenRange", "Space"]

ARM = "arm"
# Options of a stage that say how much of the network it keeps: quality falls with them.
CUTS = ("macs", "params", "size", "latency", "depth", "energy")

Point = Mapping[str, object]


@dataclass(frozen=True)
class Dimension:
    """An open field.

    Attributes:
        path: where it is in the recipe's YAML; the index of a stage is left out where no other has its name.
        values: what it may be.
        place: the file and line that it was written in.
    """

    path: Loc
    values: OpenValues
    place: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """Return the path as ``stages.prune.latency``, by which points name it."""
        return dotted(self.path)

    @property
    def usual(self) -> object:
        """Return the value where a point has none: the high end of a range, the first of a choice."""
        return self.values.examples[0]

    @property
    def is_cut(self) -> bool:
        """Tell whether it is a range of how much of the network is kept, so that quality falls and rises with it."""
        return self.is_share and isinstance(self.values, OpenRange)

    @property
    def is_share(self) -> bool:
        """Tell whether it says how much of the network is kept."""
        return self._is_of_stage and self.path[-1] in CUTS

    @property
    def is_training(self) -> bool:
        """Tell whether it says how long a network is trained."""
        return self._is_of_stage and self.path[-1] in ("epochs", "step_epochs") and isinstance(self.values, OpenRange)

    @property
    def _is_of_stage(self) -> bool:
        """Tell whether it is an option of a stage itself, not of a loss or a network with an option of that name."""
        return self.path[0] == "stages" and self.path[-2:-1] == (stage_at(self.path),)


@dataclass(frozen=True)
class Arm:
    """One kind of student: a network, its stages, and the open fields that these have.

    Attributes:
        name: e.g. "resnet20 by widths".
        document: the recipe in the form of its YAML, with each open field at its usual value and absolute paths.
        dimensions: the open fields.
        written: how each of the absolute paths was written.
        assumed: whether its student or its stages are not the recipe's, but those of the default space.
    """

    name: str
    document: Mapping[str, Any]
    dimensions: tuple[Dimension, ...] = ()
    written: Mapping[str, str] = field(default_factory=dict)
    assumed: bool = False

    @property
    def cut(self) -> Dimension | None:
        """Return the dimension that says how far the network is cut, or None where none is open."""
        return next((each for each in self.dimensions if each.is_cut), None)

    def filled(self, point: Point) -> dict[str, Any]:
        """Return the document with the values of ``point``."""
        document = deepcopy(dict(self.document))
        for dimension in self.dimensions:
            if dimension.name in point:
                *parents, last = located(document, dimension.path)
                holder: Any = document
                for part in parents:
                    holder = holder[part]
                holder[last] = _in_yaml(dimension.values, point[dimension.name])
        return document


@dataclass(frozen=True)
class Space:
    """All recipes that a recipe with open fields stands for.

    A point is a mapping from names of dimensions to values, JSON alone; ``arm`` names the arm where there are several.

    >>> space = open_space(Path("recipes/fit_digits.yaml"))  # doctest: +SKIP
    >>> space.recipe({"arm": "resnet8 by widths", "stages.prune.macs": 0.4}).student.model  # doctest: +SKIP
    'resnet8'

    Attributes:
        path: the file that it was read from.
        source: the recipe as it is written, open fields and all.
        arms: the kinds of students, in the order that they were declared in.
        steps: of an epoch, for stages that are trained for a number of these where the recipe leaves it out; or None.
    """

    path: Path
    source: Mapping[str, Any]
    arms: tuple[Arm, ...]
    steps: int | None = None

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Return the open fields of all arms, each name once."""
        return tuple({each.name: each for arm in self.arms for each in arm.dimensions}.values())

    @property
    def base(self) -> Recipe:
        """Return the recipe of the first arm, whose data, teacher, targets and budget are those of all."""
        return self.recipe({ARM: self.arms[0].name})

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the files and folders that its recipes name; of a user's function or class, its file."""
        return tuple(Path(re.sub(r"(?<=\.py):.*", "", name)) for name in self.written)

    @property
    def written(self) -> Mapping[str, str]:
        """Return how each of the absolute paths in its recipes was written."""
        return {path: as_written for arm in self.arms for path, as_written in arm.written.items()}

    @property
    def budget(self) -> Budget:
        """Return the bounds that a student must keep."""
        return self.base.budget

    @property
    def objective(self) -> str:
        """Return what is made best: latency where a metric is bounded, else the task's first metric."""
        asked = self.source.get("objective")
        return str(asked) if asked else ("latency" if self.budget.drops else self.base.kind.metrics[0].name)

    def arm(self, point: Point) -> Arm:
        """Return the arm of ``point``.

        Raises:
            RecipeError: it names none of several, or one that there is not.
        """
        names = [arm.name for arm in self.arms]
        name = point.get(ARM, names[0] if len(names) == 1 else None)
        if name not in names:
            raise RecipeError(f"{self.path}: unknown arm {name!r}{among(str(name), names)}")
        return self.arms[names.index(name)]

    def complete(self, point: Point) -> dict[str, object]:
        """Return ``point`` with its arm and each of the arm's dimensions, those left out at their usual values.

        Raises:
            RecipeError: it has a name that is no dimension of its arm.
        """
        arm = self.arm(point)
        known = [each.name for each in arm.dimensions]
        for name in point:
            if name != ARM and name not in known:
                hint = nearest(name, known)
                has = f"its dimensions: {', '.join(known)}" if known else "it has none"
                raise RecipeError(f"{self.path}: {arm.name} has no dimension {name!r}{hint}; {has}")
        return {ARM: arm.name, **{each.name: point.get(each.name, each.usual) for each in arm.dimensions}}

    def recipe(self, point: Point) -> Recipe:
        """Return the validated recipe of ``point``, as ``edgekd run`` takes it.

        Raises:
            RecipeError: ``point`` names what there is not, or its values do not go together.
        """
        arm, full = self.arm(point), self.complete(point)
        place = f"{self.path} ({', '.join(f'{name} {value}' for name, value in full.items())})"
        tree = Tree(arm.filled(full), {(): Origin(place, self.path.parent)})
        found = recipe_of(tree).written_with(dict(arm.written))
        return found if self.steps is None else found.trained_for(self.steps)

    def document(self, point: Point) -> str:
        """Return the recipe of ``point`` in full as YAML: ``edgekd run`` makes the same student of it."""
        return self.recipe(point).to_yaml()


def stage_at(path: Loc) -> str | None:
    """Return the name of the stage that ``path`` leads into, with the stage's index or without; None for another."""
    return next((part for part in path[1:3] if isinstance(part, str)), None) if path[0] == "stages" else None


def located(document: Any, path: Loc) -> Loc:
    """Return where ``path`` is in ``document``: with the index of its stage, where that was left out."""
    if path[0] != "stages" or len(path) < 2 or isinstance(path[1], int):
        return path
    [index] = [index for index, stage in enumerate(document["stages"]) if path[1] in stage]
    return ("stages", index, *path[1:])


def shortened(loc: Loc, stages: Sequence[Mapping[str, Any]]) -> Loc:
    """Return ``loc`` without the index of its stage where no other stage has its name."""
    if loc[0] != "stages" or len(loc) < 3:
        return loc
    alone = sum(loc[2] in stage for stage in stages) == 1
    return ("stages", *loc[2:]) if alone else loc


def _in_yaml(values: OpenValues, value: Any) -> Any:
    return round(value) if isinstance(values, OpenRange) and values.whole else deepcopy(value)
