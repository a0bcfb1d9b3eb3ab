"""Memory that a training step frees is there for the next step, rather than given back to the system in between."""

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
def freed_memory_kept() -> Iterator[None]:
    """Inside, glibc keeps up to 1 GiB of freed memory; afterwards the system has it back.

    A step frees and allocates every activation anew, some MiB each. glibc gives part of that back to the system, which
    then has to clear thousands of pages for every step of a small network on a CPU: some percent of its time. It is a
    setting of the whole process. Elsewhere than in glibc, and where the environment has settings of its own, nothing
    changes.
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
