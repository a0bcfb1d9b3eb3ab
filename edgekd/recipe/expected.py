"""What a recipe may have at a place, as words for messages; taken from the types of the sections."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types as at

from edgekd.nearest import listed
from edgekd.options import Registered, Section
from edgekd.recipe.schema import EVERY_KEY, Recipe
from edgekd.recipe.tree import Loc
from edgekd.stages import STAGES, Stage

PLAIN = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    dict: "a mapping",
    Path: "a path",
}


def kind_at(loc: Loc) -> tuple[Any, list[Any]]:
    """Return the bare type at ``loc`` and the bounds on it."""
    kind: Any = Recipe
    bounds: list[Any] = []
    for part in loc:
        if isinstance(part, int):
            kind, bounds = bare(get_args(kind)[0], [])
        elif get_origin(kind) is dict:
            kind, bounds = bare(get_args(kind)[1], [])
        elif kind is Stage:
            kind, bounds = STAGES[part], []
        else:
            field = kind.model_fields[part]
            kind, bounds = bare(field.annotation, field.metadata)
    return kind, bounds


def bare(kind: Any, bounds: Iterable[Any]) -> tuple[Any, list[Any]]:
    """Strip Annotated and None off ``kind``; return it with the bounds that were around it."""
    if get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        return bare(kind, [*bounds, *more])
    if get_origin(kind) in (Union, UnionType):
        [kind] = [choice for choice in get_args(kind) if choice is not NoneType]
        return bare(kind, bounds)
    return kind, list(bounds)


def choices(kind: Any, bounds: Iterable[Any]) -> tuple[str, ...]:
    """Return the words that a value may be, or none if it may be others."""
    registered = (name for bound in bounds if isinstance(bound, Registered) for name in bound.names)
    return get_args(kind) if get_origin(kind) is Literal else tuple(registered)


def expected(kind: Any, bounds: Sequence[Any] = ()) -> str:
    """Describe the values of the type ``kind`` within ``bounds``: "a whole number of at least 1"."""
    if words := choices(kind, bounds):
        return " or ".join(map(repr, words))
    if kind is Stage:
        return f"a stage: {', '.join(STAGES)}"
    if isinstance(kind, type) and issubclass(kind, Section):
        return f"a section with the keys {listed(list(kind.model_fields), EVERY_KEY)}"
    if get_origin(kind) is tuple:
        item = expected(*bare(get_args(kind)[0], []))
        return ", ".join([" ".join(["a list", *limits(bounds)]), f"each item {item}"])
    return " ".join([PLAIN.get(get_origin(kind) or kind, "text"), *limits(bounds)])


def limits(bounds: Iterable[Any]) -> list[str]:
    words = []
    for bound in bounds:
        match bound:
            case at.Ge(low):
                words.append(f"of at least {low}")
            case at.Gt(low):
                words.append(f"above {low}")
            case at.Le(high):
                words.append(f"of at most {high}")
            case at.Lt(high):
                words.append(f"below {high}")
            case at.MinLen():
                words.append("that is not empty")
    return [" and ".join(words)] if words else []
