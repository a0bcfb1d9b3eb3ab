"""The values of a YAML text, and for each of them where it was written."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from edgekd.errors import RecipeError
from edgekd.recipe.dialect import TAG, RecipeLoader, scalar, short_tag

Loc = tuple[str | int, ...]
DEEPEST = 20


@dataclass(frozen=True)
class Origin:
    """The place that a value was written in, as messages call it, and the folder that its relative paths start from."""

    place: str
    folder: Path


@dataclass
class Tree:
    """A YAML value, and the origins of all values in it by their locations."""

    value: Any = None
    origins: dict[Loc, Origin] = field(default_factory=dict)

    def at(self, loc: Loc) -> Any:
        """Return the value at ``loc``, or None."""
        value = self.value
        for part in loc:
            if isinstance(value, dict):
                value = value.get(part)
            else:
                value = value[part] if isinstance(value, list) and isinstance(part, int) else None
        return value

    def origin(self, loc: Loc) -> Origin:
        """Return where the value at ``loc`` was written, or else the section around it."""
        while loc not in self.origins:
            loc = loc[:-1]
        return self.origins[loc]

    def below(self, loc: Loc) -> dict[Loc, Origin]:
        """Return the origins of the value at ``loc`` and of all in it."""
        return {other: origin for other, origin in self.origins.items() if other[: len(loc)] == loc}

    def put(self, loc: Loc, value: Any, origins: dict[Loc, Origin]) -> None:
        """Put ``value`` at ``loc``, whose parent exists; ``origins`` are those of ``loc`` and all below."""
        self.at(loc[:-1])[loc[-1]] = value
        for other in self.below(loc):
            del self.origins[other]
        self.origins |= origins

    def lay_over(self, over: "Tree", is_merged: Callable[[str, Any, Any], bool], loc: Loc = ()) -> None:
        """Merge ``over`` into this tree: mappings key by key, everything else replaced whole.

        Args:
            is_merged: called with a key and the mappings that both have there; tells whether they are merged.
        """
        for key, value in over.at(loc).items():
            here = (*loc, key)
            known = self.at(here)
            if isinstance(value, dict) and isinstance(known, dict) and is_merged(key, known, value):
                self.origins[here] = over.origins[here]
                self.lay_over(over, is_merged, here)
            else:
                self.put(here, value, over.below(here))


def parse(text: str, origin_of_line: Callable[[int], Origin]) -> Tree:
    """Read YAML; ``origin_of_line`` says what each line, from 1 on, is called."""
    try:
        node = yaml.compose(text, Loader=RecipeLoader)
        return TreeBuilder(origin_of_line).build(node)
    except RecursionError:
        raise RecipeError(f"{origin_of_line(1).place}: nested too deeply for a recipe") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = origin_of_line(mark.line + 1 if mark else 1).place
        raise RecipeError(f"{place}: not valid YAML: {error.problem or error.context}") from None
    except (ValueError, OverflowError):
        # PyYAML passes on what chr() and int() think of its escapes.
        raise RecipeError(f"{origin_of_line(1).place}: not valid YAML: an escape is no character") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise RecipeError(f"{origin_of_line(line).place}: not valid YAML: {error.reason}") from None


class TreeBuilder:
    def __init__(self, origin_of_line: Callable[[int], Origin]):
        self.origin_of_line = origin_of_line
        self.tree = Tree()

    def build(self, node: yaml.Node | None) -> Tree:
        self.tree.origins[()] = self.origin_of_line(1)
        self.tree.value = None if node is None else self.value(node, ())
        return self.tree

    def value(self, node: yaml.Node, loc: Loc) -> Any:
        if len(loc) > DEEPEST:
            raise self.mistake(node, loc[:3], "nested too deeply for a recipe")
        self.tree.origins.setdefault(loc, self.origin_of_line(line_of(node)))
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, loc)
        if isinstance(node, yaml.SequenceNode) and node.tag == TAG + "seq":
            return [self.value(item, (*loc, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and node.tag == TAG + "map":
            return self.mapping(node, loc)
        raise self.mistake(node, loc, f"the tag {short_tag(node)} has no place in a recipe")

    def scalar(self, node: yaml.ScalarNode, loc: Loc) -> Any:
        try:
            return scalar(node)
        except ValueError as error:
            raise self.mistake(node, loc, str(error)) from None

    def mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        lines: dict[str, int] = {}
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.key(key_node, loc)
            if key in lines:
                raise self.mistake(key_node, (*loc, key), f"given twice, first on line {lines[key]}")
            lines[key] = line_of(key_node)
            self.tree.origins[(*loc, key)] = self.origin_of_line(lines[key])
            values[key] = self.value(value_node, (*loc, key))
        return values

    def key(self, node: yaml.Node, loc: Loc) -> str:
        key = self.scalar(node, loc) if isinstance(node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            written = repr(node.value) if isinstance(node, yaml.ScalarNode) else "a list or mapping"
            raise self.mistake(node, loc, f"expected a word as key, got {written}")
        return key

    def mistake(self, node: yaml.Node, loc: Loc, message: str) -> RecipeError:
        return mistake(self.origin_of_line(line_of(node)), loc, message)


def line_of(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def mistake(origin: Origin, loc: Loc, message: str) -> RecipeError:
    return RecipeError(": ".join(part for part in (origin.place, dotted(loc), message) if part))


def dotted(loc: Loc) -> str:
    return ".".join(map(str, loc))
