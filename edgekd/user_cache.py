"""The user's cache: measurements of this machine, teachers' logits.

It can be made again.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from edgekd.errors import StorageError
from edgekd.files import locked, make_folder
from edgekd.log import get_logger

logger = get_logger(__name__)


def home_folder() -> Path:
    """Return the user's home folder; of a user without one a place that need not exist, as Debian's have it."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")


def cache_folder() -> Path:
    """Return the folder of edgekd below the user's cache, which need not exist."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    return (Path(given) if Path(given).is_absolute() else home_folder() / ".cache") / "edgekd"


def writable_cache(name: str, instead: str) -> Path | None:
    """Return the folder ``name`` of the cache, or None with a warning where it cannot be written.

    Args:
        instead: what is done without it, for the warning.
    """
    folder = cache_folder() / name
    with suppress(StorageError):
        if os.access(make_folder(folder), os.W_OK | os.X_OK):
            return folder
    logger.warning(f"{folder} cannot be written: {instead}; XDG_CACHE_HOME names another folder for caches")
    return None


@contextmanager
def made_once(path: Path, what: str) -> Iterator[None]:
    """Let one process at a time measure the entry ``path`` of the cache; two at once would slow each other.

    If the cache folder cannot be written, each measures for itself.
    """
    with ExitStack() as stack:
        with suppress(StorageError):
            stack.enter_context(locked(path, what))
        yield
