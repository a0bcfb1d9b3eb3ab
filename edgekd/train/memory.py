"""Keeps the memory that a training step frees for the next step, rather than giving it back to the system."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# <malloc.h>
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEEP = 1 << 30
# Where glibc's own adjustment ends, which cannot be switched on again.
TRIM_AFTER, MMAP_AFTER = 64 << 20, 32 << 20
ALREADY_CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Let glibc keep up to 1 GiB of freed memory inside the block, and give it back to the system afterwards.

    A step frees and allocates every activation anew, some MiB each. glibc gives part of that back to the system, which
    then has to clear thousands of pages for every step of a small network on a CPU: some percent of its time. It is a
    setting of the whole process. Nothing changes with another C library, or if the environment has settings of its
    own.
    """
    library = None if any(name in os.environ for name in ALREADY_CHOSEN) else _glibc()
    if library is None:
        yield
        return
    _set(library, KEEP, KEEP)
    try:
        yield
    finally:
        _set(library, TRIM_AFTER, MMAP_AFTER)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  (other C libraries have mallopt too, with other meanings)
    except (OSError, TypeError, AttributeError):
        return None
    return library


def _set(library: ctypes.CDLL, trim: int, mmap: int) -> None:
    library.mallopt(M_TRIM_THRESHOLD, trim)
    # Before 2.35 glibc refuses more than 32 MiB here.
    if not library.mallopt(M_MMAP_THRESHOLD, mmap):
        library.mallopt(M_MMAP_THRESHOLD, MMAP_AFTER)
