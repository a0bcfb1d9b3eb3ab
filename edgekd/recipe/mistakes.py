"""From pydantic's errors to one message: place, key, what was expected, and the nearest name."""

import json
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from edgekd.errors import RecipeError
from edgekd.nearest import nearest
from edgekd.recipe.expected import choices, expected, kind_at
from edgekd.recipe.schema import Recipe
from edgekd.recipe.tree import Loc, Tree, mistake

MOST = 10


def explain(error: ValidationError, tree: Tree) -> RecipeError:
    """Turn ``error`` into one with a line for each mistake, at most ten."""
    # pydantic counts an item with a mistake as missing, and then calls the list too short as well.
    lines = [
        one_line(details, tree)
        for details in error.errors(include_url=False)
        if not (details["type"] == "too_short" and details["input"])
    ]
    if len(lines) > MOST:
        lines[MOST:] = [f"and {len(lines) - MOST} more mistakes"]
    return RecipeError("\n".join(lines))


def one_line(details: ErrorDetails, tree: Tree) -> str:
    loc: Loc = details["loc"]
    if details["type"] == "missing" and isinstance(loc[-1], int):
        # A list of a fixed length lacks its last items.
        message = unexpected(loc[:-1], details["input"])
        loc = loc[:-1]
    elif details["type"] == "missing":
        field = kind_at(loc[:-1])[0].model_fields[loc[-1]]
        message = f"missing key {loc[-1]!r}; expected {field.description}"
        loc = loc[:-1]
    elif details["type"] == "extra_forbidden":
        message = unknown_key(loc)
    elif details["type"] == "value_error":
        broken = details["ctx"]["error"]
        loc, message = loc + getattr(broken, "at", ()), str(broken)
    else:
        message = unexpected(loc, details["input"])
    return str(mistake(tree.origin(loc), loc, message))


def unknown_key(loc: Loc) -> str:
    section = kind_at(loc[:-1])[0]
    known = [*section.model_fields, *(["extends"] if section is Recipe else [])]
    return f"unknown key{nearest(str(loc[-1]), known)}; known: {', '.join(known)}"


def unexpected(loc: Loc, value: Any) -> str:
    kind, bounds = kind_at(loc)
    hint = nearest(value, choices(kind, bounds)) if isinstance(value, str) else ""
    return f"expected {expected(kind, bounds)}, got {shown(value)}{hint}"


def shown(value: Any) -> str:
    if value is None:
        return "nothing"
    written = repr(value) if isinstance(value, str) else json.dumps(value)
    return written if len(written) <= 60 else f"{written[:57]}..."
