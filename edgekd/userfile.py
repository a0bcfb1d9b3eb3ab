"""``path.py:function``: a user's own function, loaded from a file without putting it on the import path."""

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgekd.errors import EdgekdError
from edgekd.registry import nearest


def is_reference(name: str) -> bool:
    return ".py:" in name


def file_of(reference: str) -> Path:
    return Path(reference.rpartition(":")[0])


def load_function(reference: str, error: type[EdgekdError]) -> Callable[..., Any]:
    """The function that ``path.py:function`` names; ``error`` is raised where there is none."""
    path, name = file_of(reference), reference.rpartition(":")[2]
    if not path.is_file():
        raise error(f"{reference}: there is no file {path}; a reference is written path/to/file.py:function")
    spec = importlib.util.spec_from_file_location(f"edgekd_user_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up there.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as cause:
        raise error(f"{path} fails when it is loaded: {type(cause).__name__}: {cause}") from cause
    function = getattr(module, name, None)
    if not callable(function):
        defined = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise error(
            f"{path} has no function {name!r}{nearest(name, defined)}; it defines: {', '.join(defined) or 'none'}"
        )
    return function


def call(
    function: Callable[..., Any],
    reference: str,
    error: type[EdgekdError],
    offered: dict[str, Any],
    args: dict[str, Any],
) -> Any:
    """Calls with all of ``args`` and those of ``offered`` that the function's signature names."""
    parameters = inspect.signature(function).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {key: value for key, value in offered.items() if takes_all or key in parameters}
    unknown = [key for key in args if not takes_all and key not in parameters]
    if unknown:
        known = ", ".join(p for p in parameters if p not in offered) or "none"
        raise error(f"{reference} takes no argument {unknown[0]!r}{nearest(unknown[0], parameters)}; args: {known}")
    try:
        return function(**{**named, **args})
    except EdgekdError:
        raise
    except (Exception, SystemExit) as cause:
        raise error(f"{reference} fails with args {args}: {type(cause).__name__}: {cause}") from cause
