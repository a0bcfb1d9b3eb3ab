"""A disk whose power can be cut: a real ext4 in a file."""

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

# Of <linux/ext4.h>: EXT4_IOC_SHUTDOWN, and EXT4_GOING_FLAGS_LOGFLUSH, with which names are on the disk as late as can
# be, and contents only where they were flushed.
SHUTDOWN, WITH_LOG = 0x8004587D, 1
BYTES = 16 << 20


@dataclass(frozen=True)
class Disk:
    """The file system in ``image``, mounted at ``folder``."""

    image: Path
    folder: Path

    def cut(self) -> None:
        """Lose what is not on the disk, and mount it again."""
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, SHUTDOWN, struct.pack("I", WITH_LOG))
        finally:
            os.close(handle)
        subprocess.run(["umount", self.folder], check=True)
        subprocess.run(["mount", "-o", "loop", self.image, self.folder], check=True)


@contextmanager
def mounted(place: Path) -> Iterator[Disk]:
    """Give such a disk below ``place``; the test is skipped where none can be mounted."""
    disk = Disk(place / "image", place / "disk")
    disk.folder.mkdir()
    with disk.image.open("wb") as file:
        file.truncate(BYTES)
    for command in (["mkfs.ext4", "-q", "-F", disk.image], ["mount", "-o", "loop", disk.image, disk.folder]):
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no ext4 can be mounted here: {error}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk.folder], check=True)
