"""Open fields of a recipe: ``{search: [0.2, 0.9]}`` or ``{choice: [kd, fitnet]}`` in the place of a value."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from edgekd.errors import RecipeError
from edgekd.nearest import among
from edgekd.recipe.mistakes import shown
from edgekd.recipe.tree import Loc, Tree, mistake

SEARCH, CHOICE, LOG = "search", "choice", "log"
KEYS = (SEARCH, CHOICE, LOG)
# Sections that may be open, and those whose keys are the user's own.
OPEN, FREE = ("student", "stages"), ("args", "options")


@dataclass(frozen=True)
class OpenRange:
    """The numbers from ``low`` to ``high``.

    Attributes:
        log: equal factors count alike, not equal differences.
        whole: whole numbers alone.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @property
    def examples(self) -> tuple[float, float]:
        """Return the value that is taken where nothing else is said, and the other end."""
        return self.high, self.low

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class OpenChoice:
    """Some values, in the form of the recipe's YAML.

    Attributes:
        labels: the keys of the values where they are written as a mapping, else their indices.
    """

    values: tuple[Any, ...]
    labels: tuple[str | int, ...] = field(default=(), compare=False)

    @property
    def examples(self) -> tuple[Any, ...]:
        """Return the values; the first one is taken where nothing else is said."""
        return self.values

    def __str__(self) -> str:
        return ", ".join(map(shown, self.values))


OpenValues = OpenRange | OpenChoice


def open_fields(tree: Tree) -> dict[Loc, OpenValues]:
    """Find the open fields of ``tree``, in their order, without those inside the values of a choice.

    Raises:
        RecipeError: with a line for each that is not written as it should be, or stands where none may.
    """
    found: dict[Loc, OpenValues] = {}
    lines = []
    for loc in open_places(tree.value):
        try:
            found[loc] = _values(tree, loc)
        except RecipeError as error:
            lines.append(str(error))
    if lines:
        raise RecipeError("\n".join(lines))
    return found


def is_open(tree: Tree) -> bool:
    """Tell whether ``tree`` is a recipe for a search: it has an open field, or no stages."""
    return "stages" not in tree.value or any(True for _ in open_places(tree.value))


def open_places(value: Any, loc: Loc = ()) -> Iterator[Loc]:
    """Locate what is written as an open field below ``value``."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        here = (*loc, key)
        if isinstance(item, dict) and key not in FREE and _form(item):
            yield here
        else:
            yield from open_places(item, here)


def are_merged(key: str, base: dict[str, Any], over: dict[str, Any]) -> bool:
    """Tell whether ``over`` changes keys of ``base``, written under ``key`` in a recipe that it extends.

    An open field takes the place of a section, and of an open field of the other form, and so does a section of it.
    """
    return key in FREE or _form(base) == _form(over) or set(over) == {LOG}


def _form(content: dict[str, Any]) -> str | None:
    """Return how an open field is written, None of a section."""
    return next((form for form in (SEARCH, CHOICE) if form in content), None)


def filled(tree: Tree, loc: Loc, value: Any, label: str | int | None = None) -> Tree:
    """Return a copy of ``tree`` with ``value`` in place of the open field at ``loc``.

    Args:
        label: that of the value in its choice, so that mistakes are located in the line that it was written in.
    """
    copy = Tree(deepcopy(tree.value), dict(tree.origins))
    origins = {loc: copy.origin(loc)}
    if label is not None:
        item = (*loc, CHOICE, label)
        origins |= {(*loc, *each[len(item) :]): origin for each, origin in copy.below(item).items()}
    copy.put(loc, deepcopy(value), origins)
    return copy


def _values(tree: Tree, loc: Loc) -> OpenValues:
    content = tree.at(loc)
    unknown = next((key for key in content if key not in KEYS), None)
    if unknown is not None:
        at = (*loc, unknown)
        raise _wrong(tree, at, f"unknown key{among(unknown, KEYS)}")
    if loc[0] not in OPEN:
        raise _wrong(tree, loc, "only student and stages have open fields; write one value")
    if SEARCH in content and CHOICE in content:
        raise _wrong(tree, loc, "search and choice exclude each other; give one of the two")
    return _range(tree, loc, content) if SEARCH in content else _choice(tree, loc, content)


def _range(tree: Tree, loc: Loc, content: dict[str, Any]) -> OpenRange:
    ends, log, at = content[SEARCH], content.get(LOG, False), (*loc, SEARCH)
    numbers = isinstance(ends, list) and len(ends) == 2 and all(type(end) in (int, float) for end in ends)
    if not numbers:
        raise _wrong(tree, at, f"expected two numbers, e.g. [0.2, 0.9], got {shown(ends)}")
    low, high = ends
    if low > high:
        raise _wrong(tree, at, f"the range is upside down; write [{high:g}, {low:g}]")
    if low == high:
        raise _wrong(tree, at, f"the range holds one value; write {low:g} in its place")
    if not isinstance(log, bool):
        raise _wrong(tree, (*loc, LOG), f"expected true or false, got {shown(log)}")
    if log and low <= 0:
        raise _wrong(tree, at, f"with log the range is above 0, got {low:g}; raise it or leave log out")
    return OpenRange(low, high, log, whole=all(type(end) is int for end in ends))


def _choice(tree: Tree, loc: Loc, content: dict[str, Any]) -> OpenChoice:
    values, at = content[CHOICE], (*loc, CHOICE)
    if LOG in content:
        raise _wrong(tree, (*loc, LOG), "log is of a range; leave it out")
    if not isinstance(values, list | dict):
        raise _wrong(tree, at, f"expected a list of values, got {shown(values)}")
    labels, values = (list(values), list(values.values())) if isinstance(values, dict) else (range(len(values)), values)
    if len(values) < 2:
        raise _wrong(tree, at, "a choice has two values at least; write the value itself in its place")
    for index, (label, value) in enumerate(zip(labels, values, strict=True)):
        if value in values[:index]:
            raise _wrong(tree, (*at, label), f"{shown(value)} is there twice; leave one of them out")
    return OpenChoice(tuple(values), tuple(labels))


def _wrong(tree: Tree, loc: Loc, message: str) -> RecipeError:
    return mistake(tree.origin(loc), loc, message)
