"""From pydantic's errors to one message: place, key, what was expected, and the nearest name."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from edgekd.errors import RecipeError
from edgekd.nearest import among, nearest
from edgekd.options import Budget, Mistake
from edgekd.recipe.expected import choices, expected, kind_at
from edgekd.recipe.schema import EVERY_KEY, Recipe
from edgekd.recipe.tree import Loc, Origin, Tree, mistake
from edgekd.tasks.registry import metrics_by_name

MOST = 10
# pydantic's mark at the end of the place of a key that is no name.
KEY = "[key]"


def explain(error: ValidationError) -> list[Mistake]:
    """Return the mistakes that ``error`` is made of, each at its place in the recipe."""
    # pydantic counts an item with a mistake as missing, and then calls the list too short as well.
    return [
        _explained(details)
        for details in error.errors(include_url=False)
        if not (details["type"] == "too_short" and details["input"])
    ]


def gathered(mistakes: Sequence[Mistake], tree: Tree) -> RecipeError | None:
    """Return one error with a line for each mistake, at most ten, in the order of the file; None if there is none."""
    lines = [str(mistake(tree.origin(each.at), each.at, str(each))) for each in mistakes]
    order = sorted(range(len(lines)), key=lambda number: _place(tree.origin(mistakes[number].at)))
    lines = list(dict.fromkeys(lines[number] for number in order))
    if len(lines) > MOST:
        lines[MOST:] = [f"and {len(lines) - MOST} more mistakes"]
    return RecipeError("\n".join(lines)) if lines else None


def _place(origin: Origin) -> tuple[str, int]:
    file, _, line = origin.place.rpartition(":")
    return (file, int(line)) if line.isdecimal() else (origin.place, 0)


def _explained(details: ErrorDetails) -> Mistake:
    loc: Loc = details["loc"]
    if loc[-1:] == (KEY,):
        return Mistake(f"expected names as keys, got {shown(details['input'])}", *loc[:-2])
    if details["type"] == "missing" and isinstance(loc[-1], int):
        # A list of a fixed length lacks its last items.
        message = unexpected(loc[:-1], details["input"])
        loc = loc[:-1]
    elif details["type"] == "missing":
        field = kind_at(loc[:-1])[0].model_fields[loc[-1]]
        found = "; 'edgekd fit' finds them where they are left out" if loc == ("stages",) else ""
        message = f"missing key {loc[-1]!r}; expected {field.description}{found}"
        loc = loc[:-1]
    elif details["type"] == "extra_forbidden":
        message = unknown_key(loc)
    elif details["type"] == "value_error":
        broken = details["ctx"]["error"]
        loc, message = loc + getattr(broken, "at", ()), str(broken)
    else:
        message = unexpected(loc, details["input"])
    return Mistake(message, *loc)


def unknown_key(loc: Loc) -> str:
    section, name = kind_at(loc[:-1])[0], loc[-1]
    if section is Budget and name in metrics_by_name():
        bounded = "how much worse than the teacher's it may be"
        return f"a budget bounds no value of {name}, but {bounded}: drop: {{{name}: 1.0}}"
    known = [*section.model_fields, *(["extends"] if section is Recipe else [])]
    return f"unknown key{among(str(loc[-1]), known, EVERY_KEY)}"


def unexpected(loc: Loc, value: Any) -> str:
    kind, bounds = kind_at(loc)
    hint = nearest(value, choices(kind, bounds)) if isinstance(value, str) else ""
    return f"expected {expected(kind, bounds)}, got {shown(value)}{hint}"


def shown(value: Any) -> str:
    if value is None:
        return "nothing"
    written = repr(value) if isinstance(value, str) else json.dumps(value)
    return written if len(written) <= 60 else f"{written[:57]}..."
