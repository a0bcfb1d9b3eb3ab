"""YAML as recipes use it: the core types of YAML 1.2, so that ``1e-3`` is a number and ``no`` is a word."""

import math
import re
from typing import ClassVar

import yaml

DEEPEST = 50
MOST = 10_000  # keys and values
TAG = "tag:yaml.org,2002:"
RESOLVERS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
}


class RecipeLoader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}  # type: ignore[misc]

    nodes = depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        # Aliases let a few lines expand without end.
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not used in recipes; write the value out, or use extends",
                problem_mark=self.peek_event().start_mark,
            )
        self.nodes, self.depth = self.nodes + 1, self.depth + 1
        if self.depth > DEEPEST:
            raise RecursionError
        if self.nodes > MOST:
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem=f"more than {MOST:,} keys and values", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class RecipeDumper(yaml.SafeDumper):
    """Quotes each text that either YAML 1.1 or :class:`RecipeLoader` would read as something else."""


for kind, (pattern, first) in RESOLVERS.items():
    RecipeLoader.add_implicit_resolver(TAG + kind, re.compile(rf"(?:{pattern})\Z"), first)
    RecipeDumper.add_implicit_resolver(TAG + kind, re.compile(rf"(?:{pattern})\Z"), first)


def scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    """Return the value of ``node``.

    Raises:
        ValueError: it has none.
    """
    match node.tag.removeprefix(TAG):
        case "null":
            return None
        case "bool":
            return boolean(node.value)
        case "int":
            return whole_number(node.value)
        case "float":
            return number(node.value)
        case "str":
            return text(node.value)
    raise ValueError(f"the tag {short_tag(node)} has no place in a recipe")


def short_tag(node: yaml.Node) -> str:
    return node.tag.replace(TAG, "!!", 1)


def boolean(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ValueError(f"expected true or false, got {value!r}")
    return value.lower() == "true"


def whole_number(value: str) -> int:
    # JSON readers elsewhere hold 64 bits, and Python refuses to print integers of thousands of digits.
    if not re.fullmatch(r"[-+]?[0-9]{1,18}", value):
        raise ValueError(f"expected a whole number of at most 18 digits, got {value[:40]!r}")
    return int(value)


def number(value: str) -> float:
    try:
        result = float(value)
    except ValueError:
        result = math.nan
    if not math.isfinite(result):
        raise ValueError(f"expected a finite number, got {value[:40]!r}")
    return result


def text(value: str) -> str:
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"the text {value[:40]!r} holds characters that files and terminals refuse")
    return value
