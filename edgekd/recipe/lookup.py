"""Files and functions that a recipe names, looked up without loading any of them."""

import ast
from collections.abc import Iterator
from pathlib import Path

from edgekd.data import layouts
from edgekd.data.sources import SOURCES, Layout
from edgekd.errors import DataError
from edgekd.nearest import nearest
from edgekd.options import Mistake
from edgekd.recipe.schema import paths_of
from edgekd.recipe.tree import Tree
from edgekd.tasks.registry import DEFAULT, TASKS
from edgekd.userfile import file_of, is_reference

_FUNCTION = "a function is written path/to/file.py:function"
ADVICE: dict[str | int, str] = {
    "path": "give the folder or file of the data",
    "unlabelled": "give a folder of images",
    "checkpoint": "give the path of a .safetensors, .pt or .pth file",
    "model": _FUNCTION,
    "source": _FUNCTION,
}


def missing_files(tree: Tree) -> Iterator[Mistake]:
    """Yield a mistake for each path of a recipe that leads nowhere, and for each function that its file lacks.

    A data source's path must lead to the folders and files that the source reads.

    Paths are absolute in ``tree``. A path that data are downloaded to need not exist.
    """
    source = tree.at(("data", "source"))
    if isinstance(source, str) and source in SOURCES:
        kind, task = SOURCES[source].targets, tree.at(("task",)) or DEFAULT
        if kind is not None and isinstance(task, str) and task in TASKS and TASKS[task].outputs != kind:
            way = " or ".join(name for name in TASKS if TASKS[name].outputs == kind)
            yield Mistake(f"its targets are {kind}, and those of {task} are not; set task: {way}", "data", "source")
    for loc in paths_of(tree):
        value = tree.at(loc)
        if not isinstance(value, str):
            continue
        why: str | None = None
        layout: Layout | None = None
        if is_reference(value):
            why = _why_no_function(value)
        elif loc[-1] in ("checkpoint", "unlabelled"):
            why = _why_not_there(Path(value), is_folder=loc[-1] == "unlabelled", is_file=loc[-1] == "checkpoint")
            layout = layouts.unlabelled if loc[-1] == "unlabelled" else None
        elif loc == ("data", "path") and isinstance(source, str) and source in SOURCES:
            layout = SOURCES[source].layout
            why = _why_not_there(Path(value)) if layout else None
        if why:
            yield Mistake(f"{why}; {ADVICE[loc[-1]]}" if why.startswith("there is no") else why, *loc)
        elif layout is not None:
            try:
                layout(Path(value))
            except DataError as error:
                yield Mistake(str(error), *loc)


def _why_not_there(path: Path, is_folder: bool = False, is_file: bool = False) -> str | None:
    try:
        if is_folder and path.is_file():
            return f"{path} is a file; name a folder"
        if is_file and path.is_dir():
            return f"{path} is a folder; name the file in it"
        if path.exists():
            return None
        if not path.parent.is_dir():
            return f"there is no {path}, nor a folder {path.parent}"
        return f"there is no {path}{nearest(path.name, [each.name for each in path.parent.iterdir()])}"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"


def _why_no_function(reference: str) -> str | None:
    path, name = file_of(reference), reference.rpartition(":")[2]
    if why := _why_not_there(path, is_file=True):
        return why
    try:
        names, defined = _names_in(ast.parse(path.read_bytes()))
    except (SyntaxError, ValueError, OSError) as error:
        return f"{path} is no Python file that can be read: {error}"
    if names is None or name in names:
        return None
    return (
        f"{path} has no function {name!r}{nearest(name, defined)}; it defines: {', '.join(sorted(defined)) or 'none'}"
    )


def _names_in(tree: ast.Module) -> tuple[set[str] | None, set[str]]:
    """The names that a module has when it is loaded, None where another decides; and its own functions and classes."""
    names: set[str] = set()
    defined: set[str] = set()
    waiting: list[ast.AST] = list(tree.body)
    for node in waiting:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            if any(alias.name == "*" for alias in node.names):
                return None, defined
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        else:
            waiting.extend(ast.iter_child_nodes(node))
    return names | defined, defined
