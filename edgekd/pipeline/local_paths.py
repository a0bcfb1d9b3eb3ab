"""Texts for other readers without this machine's paths or its users' names."""

import re
import shlex
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgekd.user_cache import home_folder

# Of what devices say of themselves: their users' home folders.
LEFT_OUT = ("executable", "trtexec")


def without_local_paths(document: Any, folder: Path, written: Mapping[str, str]) -> Any:
    """Return ``document`` without absolute paths of this machine in its texts.

    The run's ``folder`` becomes its name, a path of the recipe what was ``written`` for it (or its name, where that
    was absolute too), the working directory ``.``, the home folder ``~`` and the folder of temporary files ``...``.
    """
    names = {str(Path.cwd()): ".", str(home_folder()): "~", tempfile.gettempdir(): "..."}
    for resolved, word in written.items():
        path, colon, _ = resolved.partition(".py:")
        short = Path(path).name if word.startswith(("/", "~")) else word.partition(".py:")[0]
        names[path + (".py" if colon else "")] = short + (".py" if colon else "")
    names[str(folder.resolve())] = names[str(folder.absolute())] = folder.resolve().name
    known = sorted((place for place in names if len(place) > 1), key=len, reverse=True)
    place = re.compile(rf"(?<![\w/.-])({'|'.join(map(re.escape, known))})(?=[^\w.-]|\.?$|\.\s)")

    def clean(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(clean(key)): clean(each) for key, each in value.items() if key not in LEFT_OUT}
        if isinstance(value, list | tuple):
            return [clean(each) for each in value]
        return place.sub(lambda found: names[found[1]], value) if isinstance(value, str) else value

    return clean(document)


def command_line(words: Iterable[str]) -> str:
    """Return the command of edgekd with these words, as reports keep it: without local paths, in text of UTF-8."""
    command = shlex.join(["edgekd", *map(shorten_path, words)])
    # Names of files may hold bytes that are no text.
    return command.encode(errors="backslashreplace").decode()


def shorten_path(word: str) -> str:
    """Return a word of a command line with the path in it, if it is absolute, relative to the working directory or,
    where it leads elsewhere, by its last part.
    """
    head, equals, tail = word.rpartition("=")
    if not tail.startswith(("/", "~")):
        return word
    try:
        path, here = Path(tail).expanduser(), Path.cwd()
    except RuntimeError:  # a name that begins as somebody's home does
        return word
    return head + equals + (str(path.relative_to(here)) if path.is_relative_to(here) else path.name)
