"""Hashes of a user's function and of all that it imports and reads."""

import ast
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from edgekd.files import canonical_json, sha256, sha256_file
from edgekd.usercode import Program, file_of_module, is_users, programs, watched

IMPORTERS = ("import_module", "__import__")
SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/lib64")


@dataclass(frozen=True)
class _Inputs:
    files: dict[Path, str]
    """By what they are called whatever folder they lie in."""
    digests: tuple[str, ...]


_known: dict[Hashable, _Inputs] = {}


def digests(path: Path, use: Callable[[], object], key: Hashable) -> tuple[str, ...]:
    """Hash the user's file ``path`` and all user files that ``use`` needs: code, and the files that code reads.

    The first is the file's own SHA-256; the others' are of their names and contents, in the order of the names.
    Modules that are imported inside functions count too, called or not.

    Args:
        use: loads the file and calls what is to be called; it is called again only when one of the files has changed.
        key: says which call that is.
    """
    known = _known.get(key)
    if known is not None and _digests(known.files) == known.digests:
        return known.digests
    with watched() as opened:
        use()
    files = _inputs(programs[path.resolve()], opened)
    _known[key] = _Inputs(files, _digests(files))
    return _known[key].digests


def module_digests(path: Path) -> tuple[str, ...]:
    """Hash the user's file ``path`` and all user files that it imports, in the form of :func:`digests`.

    They are found by the import statements alone: nothing is loaded, and files that code reads do not count.
    """
    return _digests(_inputs(Program(path.resolve()), set()))


def _inputs(program: Program, opened: set[str]) -> dict[Path, str]:
    files = {program.path: ""}
    files |= {each: _label(each, program) for each in sorted(_modules(program)) if each not in files}
    files |= {each: _label(each, program) for each in sorted(_read(opened, program)) if each not in files}
    return files


def imports_relatively(path: Path) -> bool:
    return any(isinstance(node, ast.ImportFrom) and node.level for node in _nodes(path))


def _digests(files: dict[Path, str]) -> tuple[str, ...]:
    first, *rest = [(label, sha256_file(path) if path.is_file() else "") for path, label in files.items()]
    return (first[1], *(sha256(canonical_json(list(each))) for each in sorted(rest)))


def _label(path: Path, program: Program) -> str:
    roots = [program.folder, *(Path(each).resolve() for each in sys.path if each)]
    over = [root for root in roots if path.is_relative_to(root)]
    root = (
        program.folder if program.folder in over else max(over, key=lambda each: len(each.parts), default=path.parent)
    )
    return path.relative_to(root).as_posix()


def _modules(program: Program) -> set[Path]:
    found: set[Path] = set()
    waiting = [program.path, *(file for each in program.modules.values() if (file := file_of_module(each)))]
    while waiting:
        path = waiting.pop().resolve()
        if path not in found and path.is_file() and is_users(path):
            found.add(path)
            waiting += _imported(path, program)
    return found


def _imported(path: Path, program: Program) -> Iterator[Path]:
    for node in _nodes(path):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(alias.name.split("."), program)
        elif isinstance(node, ast.ImportFrom):
            module = node.module.split(".") if node.module else []
            for alias in node.names:
                yield from _files([*module, alias.name], program, path, node.level)
        elif isinstance(node, ast.Call) and _is_importer(node.func) and node.args:
            name = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
            if isinstance(name, str) and name.strip("."):
                inner = name.lstrip(".")
                yield from _files(inner.split("."), program, path, len(name) - len(inner))


def _is_importer(function: ast.expr) -> bool:
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    return name in IMPORTERS


def _files(parts: list[str], program: Program, importer: Path | None = None, level: int = 0) -> Iterator[Path]:
    """The files of a module and of the packages that it is in, as far as they are the user's."""
    places: list[str] | None = program.places
    if level and importer is not None:
        places = [str(importer.parents[min(level, len(importer.parents)) - 1])]
    elif parts[0] in sys.stdlib_module_names:
        return
    elif PathFinder.find_spec(parts[0], places) is None:
        places = _installed(parts[0])
    for part in parts:
        spec = PathFinder.find_spec(part, places) if places is not None else None
        if spec is None or (spec.has_location and spec.origin and not is_users(Path(spec.origin))):
            return
        if spec.has_location and spec.origin:
            yield Path(spec.origin)
        places = list(spec.submodule_search_locations) if spec.submodule_search_locations else None


def _installed(name: str) -> list[str] | None:
    """The location of a module that isn't next to the file: on sys.path, or of a package that is edited in place."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return [str(Path(each).parent) for each in spec.submodule_search_locations]
    return [str(Path(spec.origin).parent)] if spec.has_location and spec.origin else None


def _nodes(path: Path) -> Iterator[ast.AST]:
    if path.suffix != ".py":
        return
    try:
        yield from ast.walk(ast.parse(path.read_bytes()))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return


def _read(opened: set[str], program: Program) -> Iterator[Path]:
    """The user's data among what was opened; what hidden and system folders hold is the libraries' own."""
    for name in opened:
        path = Path(os.path.realpath(name))
        is_near = path.is_relative_to(program.folder)
        inner = path.relative_to(program.folder) if is_near else path
        foreign = any(part.startswith(".") for part in inner.parts) or "__pycache__" in inner.parts
        outside = [*SYSTEM, tempfile.gettempdir(), sys.prefix, sys.base_prefix]
        system = not is_near and any(path.is_relative_to(each) for each in outside)
        if not foreign and not system and is_users(path) and path.is_file():
            yield path
