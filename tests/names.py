"""The names and docstrings of the house; ``python -m tests.names gate report`` lists what is left to do in rooms."""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.house import HOUSE, parsed

VERBS = frozenset(Path(__file__).with_name("verbs.txt").read_text().split())
# What the project once called things, and the field does not.
DIALECT = {
    *("abroad", "agreed", "answer", "answers", "assist", "beside", "book", "caution", "cautions", "contender"),
    *("contenders", "doubt", "doubts", "fence", "fences", "harm", "journal", "site", "sites", "sitting", "sittings"),
    *("tap", "taps", "ties", "told"),
}
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@dataclass(frozen=True)
class Named:
    """A public name of a module: a class, function, method, property or constant."""

    path: Path
    line: int
    name: str
    docstring: str | None

    def __str__(self) -> str:
        return f"{self.path.relative_to(HOUSE.parent)}:{self.line} {self.name}"


def files_of(room: str) -> list[Path]:
    folder = HOUSE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [HOUSE / f"{room}.py"]


def functions(room: str) -> list[Named]:
    """Public functions, methods and properties; those that a function defines for itself are nobody else's."""
    return [each for path in files_of(room) for each in _functions(path, parsed(path).body)]


def _functions(path: Path, body: list[ast.stmt]) -> Iterator[Named]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _functions(path, node.body)
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield Named(path, node.lineno, node.name, ast.get_docstring(node))


def names(room: str) -> list[Named]:
    """Modules and folders below the room, and what is public in them."""
    found = functions(room)
    for path in files_of(room):
        found.append(Named(path, 1, " ".join(path.relative_to(HOUSE).with_suffix("").parts), None))
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef):
                found.append(Named(path, node.lineno, node.name, None))
            elif isinstance(node, ast.Assign):
                found += [
                    Named(path, node.lineno, target.id, None) for target in node.targets if isinstance(target, ast.Name)
                ]
    return [each for each in found if not each.name.startswith("_")]


def is_imperative(docstring: str) -> bool:
    """Whether it begins with a verb that the list knows, and its first paragraph is a sentence."""
    first = docstring.split("\n\n")[0].rstrip()
    return first.split()[0].strip(",.:;").lower() in VERBS and first.endswith((".", ":"))


def dialect_in(name: str) -> bool:
    return not DIALECT.isdisjoint(word.lower() for word in WORD.findall(name))


def faults(room: str) -> list[str]:
    """Docstrings that begin otherwise, and names of the old dialect."""
    begun = [f"{each}: {each.docstring.splitlines()[0]}" for each in functions(room) if not _says(each.docstring)]
    return begun + [f"{each}: an old name" for each in names(room) if dialect_in(each.name)]


def _says(docstring: str | None) -> bool:
    return docstring is None or is_imperative(docstring)


if __name__ == "__main__":
    print("\n".join(fault for room in sys.argv[1:] for fault in faults(room)))
