"""``path.py:function``: a user's own function, loaded from its file.

It can import modules next to it.
"""

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from edgekd.errors import EdgekdError
from edgekd.files import canonical_json
from edgekd.nearest import nearest
from edgekd.usercode import at_home, load
from edgekd.userhash import digests, imports_relatively


def is_reference(name: str) -> bool:
    return ".py:" in name


def file_of(reference: str) -> Path:
    return Path(reference.rpartition(":")[0])


def load_function(reference: str, error: type[EdgekdError]) -> Callable[..., Any]:
    """Load the function that ``path.py:function`` names.

    Raises:
        error: there is none.
    """
    path, name = file_of(reference), reference.rpartition(":")[2]
    if not path.is_file():
        raise error(f"{reference}: there is no file {path}; a reference is written path/to/file.py:function")
    try:
        with at_home(path, fresh=True):
            module = load(path, relative=imports_relatively(path))
    except (Exception, SystemExit) as cause:
        raise error(f"{path} fails when it is loaded: {type(cause).__name__}: {cause}") from cause
    function = getattr(module, name, None)
    if not callable(function):
        own = (key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__)
        defined = [key for key in own if callable(getattr(module, key))]
        raise error(
            f"{path} has no function {name!r}{nearest(name, defined)}; it defines: {', '.join(defined) or 'none'}"
        )
    return function


def call(
    function: Callable[..., Any],
    reference: str,
    error: type[EdgekdError],
    offered: Mapping[str, object],
    args: Mapping[str, object],
) -> Any:
    """Call the function with all of ``args``, and with those of ``offered`` that its signature names."""
    parameters = inspect.signature(function).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {key: value for key, value in offered.items() if takes_all or key in parameters}
    unknown = [key for key in args if not takes_all and key not in parameters]
    if unknown:
        known = ", ".join(p for p in parameters if p not in offered) or "none"
        raise error(f"{reference} takes no argument {unknown[0]!r}{nearest(unknown[0], parameters)}; args: {known}")
    try:
        with at_home(file_of(reference)) if is_reference(reference) else nullcontext():
            return function(**{**named, **args})
    except EdgekdError:
        raise
    except (Exception, SystemExit) as cause:
        raise error(f"{reference} fails with args {args}: {type(cause).__name__}: {cause}") from cause


def code_of(reference: str, use: Callable[[], Any], *call: Any) -> tuple[str, ...]:
    """Hash the dependencies of ``path.py:function``: the user's modules, and the files that they read.

    Args:
        use: loads the function and does with it what the result depends on.
        call: what tells this use from others, as JSON.
    """
    return digests(file_of(reference), use, (reference, canonical_json(call)))
