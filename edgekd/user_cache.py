"""The user's cache: measurements of this machine, teachers' logits.

It can be made again.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from edgekd.errors import StorageError
from edgekd.files import locked


def cache_folder() -> Path:
    """Return the folder of edgekd below the user's cache, which need not exist."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    return (Path(given) if Path(given).is_absolute() else Path.home() / ".cache") / "edgekd"


@contextmanager
def made_once(path: Path, what: str) -> Iterator[None]:
    """Let one process at a time measure the entry ``path`` of the cache; two at once would slow each other.

    If the cache folder cannot be written, each measures for itself.
    """
    with ExitStack() as stack:
        with suppress(StorageError):
            stack.enter_context(locked(path, what))
        yield
