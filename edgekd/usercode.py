"""A user's modules, found next to the file that imports them.

They are separate for each file, and read from their source.
"""

import builtins
import importlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

PREFIX = "edgekd_user_"
INSTALLED = ("site-packages", "dist-packages")


@dataclass(eq=False)
class Program:
    """A user's file as it was last loaded, with the modules that it imported."""

    path: Path
    modules: dict[str, ModuleType] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def package(self) -> Path | None:
        """Return the folder of the outermost package that holds the file."""
        inside = [folder for folder in self.path.parents if (folder / "__init__.py").is_file()]
        whole = [each for each, parent in zip(inside, self.path.parents, strict=False) if each == parent]
        return whole[-1] if whole else None

    @property
    def places(self) -> list[str]:
        """Return the folders in which its imports are looked for first."""
        return [str(self.folder), *([str(self.package.parent)] if self.package else [])]


# By their files. Like sys.modules, this is of the process.
programs: dict[Path, Program] = {}
_at_home: list[Path] = []


@cache
def is_users(file: Path) -> bool:
    """Tell the user's code from the standard library's, installed packages', and edgekd's own."""
    if set(INSTALLED) & set(file.parts):
        return False
    known = [sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib")]
    folders = [Path(each) for each in known] + [Path(__file__).parent]
    return not any(file.is_relative_to(each) or file.is_relative_to(each.resolve()) for each in folders)


def file_of_module(module: ModuleType) -> Path | None:
    """Return the user's file, or for a namespace package the folder, that ``module`` comes from."""
    found = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return _users_file(found) if isinstance(found, str) else None


@cache  # by text: thousands of modules are asked each time that a user's file is entered
def _users_file(found: str) -> Path | None:
    path = Path(found)
    return path if path.is_absolute() and is_users(path) else None


@contextmanager
def at_home(path: Path, fresh: bool = False) -> Iterator[None]:
    """Let the user's file ``path`` import modules next to it, even if other modules have their names.

    Args:
        fresh: forget the modules that it brought in before, so that they are read again.
    """
    path = path.resolve()
    if not is_users(path) or (path in _at_home and not fresh):
        yield
        return
    ours = {id(module) for each in programs.values() for module in each.modules.values()}
    program = programs.pop(path, Program(path))
    programs[path] = program  # the last used comes last
    if fresh:
        program.modules = {}
        importlib.invalidate_caches()
    aside = {name: each for name, each in sys.modules.items() if id(each) in ours or _is_hidden(name, each, program)}
    for name in aside:
        del sys.modules[name]
    before = set(sys.modules)
    sys.modules.update(program.modules)
    finder = _Beside(program)
    sys.meta_path.insert(0, finder)
    _at_home.append(path)
    try:
        yield
    finally:
        _at_home.remove(path)
        sys.meta_path.remove(finder)
        new = {name: module for name, module in sys.modules.items() if name not in before}
        program.modules = {name: module for name, module in new.items() if file_of_module(module)}
        for name in program.modules:
            del sys.modules[name]
        _settle()
        sys.modules.update({name: module for name, module in aside.items() if id(module) not in ours})


def _is_hidden(name: str, module: ModuleType, program: Program) -> bool:
    """Whether ``module`` is the running program's, and another of its name stands beside the file."""
    top = name.partition(".")[0]
    if top == "__main__" or not file_of_module(module):
        return False
    return any((program.folder / each).exists() for each in (f"{top}.py", top))


def load(path: Path, relative: bool) -> ModuleType:
    """Execute the user's file ``path``; inside :func:`at_home`.

    Args:
        relative: it imports relatively, as a part of the package that it lies in.
    """
    name = f"{PREFIX}{path.stem}"
    if relative:
        name = f"{_package(path.resolve())}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_loader(name, path, path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up there.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _loader(name: str, path: Path, root: Path) -> SourceFileLoader:
    program = programs.get(root.resolve())
    return FromSource(name, str(path), program) if program else SourceFileLoader(name, str(path))


class FromSource(SourceFileLoader):
    """Compiles what the file holds now: bytecode is kept by the second, and an edit can be faster.

    The module's import statements find what belongs to ``program`` whenever they are executed, in a forward pass too.
    """

    def __init__(self, name: str, path: str, program: Program):
        super().__init__(name, path)
        self.program = program

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": self._import}
        super().exec_module(module)

    def _import(self, name: str, *args: Any, **named: Any) -> ModuleType:
        known = self.program.modules.get(name)
        if known is not None and sys.modules.get(name) is known:
            return builtins.__import__(name, *args, **named)
        with at_home(self.program.path):
            return builtins.__import__(name, *args, **named)


class _Beside:
    """Finds modules beside a user's file first, and everybody's user modules by their source."""

    def __init__(self, program: Program):
        self.program = program

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        if path is None and name.partition(".")[0] in sys.stdlib_module_names:
            return None
        spec = PathFinder.find_spec(name, [*self.program.places, *sys.path] if path is None else list(path))
        if spec is not None and spec.loader is None and path is None:  # a folder: whatever else has the name goes first
            others = (finder.find_spec(name, None) for finder in sys.meta_path if finder is not self)
            return next((other for other in others if other), spec)
        if spec is not None and isinstance(spec.loader, SourceFileLoader) and is_users(Path(spec.loader.path)):
            spec.loader = FromSource(spec.loader.name, spec.loader.path, self.program)
            return spec
        return None


def _settle() -> None:
    """Leaves in sys.modules what means the same to all; what doesn't would be another's to whoever imports it later."""
    tops: dict[str, set[Path | None]] = {}
    for program in programs.values():
        for name, module in program.modules.items():
            if "." not in name:
                tops.setdefault(name, set()).add(file_of_module(module))
    for program in programs.values():
        for name, module in program.modules.items():
            if len(tops.get(name.partition(".")[0], ())) == 1:
                sys.modules[name] = module


def _package(path: Path) -> str:
    """The name of the package that ``path`` lies in, loaded; a folder without __init__.py is one too."""
    top = programs[path].package or path.parent
    name, init = f"{PREFIX}{top.name}", top / "__init__.py"
    module = ModuleType(name)
    module.__path__ = [str(top)]
    sys.modules[name] = module
    if init.is_file():
        spec = importlib.util.spec_from_file_location(
            name, init, loader=_loader(name, init, path), submodule_search_locations=[str(top)]
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    for part in path.parent.relative_to(top).parts:
        name = f"{name}.{part}"
        importlib.import_module(name)
    return name


_watching: list[set[str]] = []


@contextmanager
def watched() -> Iterator[set[str]]:
    """Collect the files that are opened to be read while the block runs."""
    _watch()
    seen: set[str] = set()
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching.remove(seen)


@cache
def _watch() -> None:
    sys.addaudithook(_opened)  # for good: Python has no way to take it out


def _opened(event: str, args: tuple[object, ...]) -> None:
    if event == "open" and _watching:
        path, _, flags = args
        if isinstance(path, str) and isinstance(flags, int) and not flags & (os.O_WRONLY | os.O_RDWR):
            for each in _watching:
                each.add(path)
