"""Kernel timings kept from one build to the next: seconds instead of minutes on a small board."""

from pathlib import Path
from typing import Any

from edgekd.errors import EdgekdError, ExportError, StorageError
from edgekd.files import lies_there, read_content, write_bytes

LARGEST = 1 << 32


def read_timings(config: Any, path: Path) -> None:
    """Give ``config`` the timings in ``path``; if there is no such file, it starts to collect some.

    Raises:
        ExportError: they were measured on another GPU or by another release.
        StorageError: the file cannot be read.
    """
    try:
        known = read_content(path, limit=LARGEST) if lies_there(path) else b""
    except EdgekdError as error:
        raise StorageError(f"{error}; name another timing cache") from error
    timings = config.create_timing_cache(known)
    if timings is None or not config.set_timing_cache(timings, ignore_mismatch=False):
        raise ExportError(
            f"{path} holds timings of another GPU or another release of TensorRT; delete it or name another file"
        )


def write_timings(config: Any, path: Path) -> None:
    """Write the timings of ``config`` after a build, whole or not at all."""
    write_bytes(path, bytes(config.get_timing_cache().serialize()))
