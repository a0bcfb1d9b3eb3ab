"""An array on disk that is written in chunks and read through a memory map."""

import hashlib
import os
from io import BytesIO
from pathlib import Path

import numpy as np

from edgekd.files import is_file, lies_there, move_aside, storage


class CacheFile:
    """An array (views, samples, \\*shape) in the .npy format; a chunk is a range of samples in all views.

    Chunks that are not written yet are zeros. The file does not record which are written; their digests tell.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str):
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype).newbyteorder("<")
        header = BytesIO()
        described = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, described)
        self.header = header.getvalue()
        self.row_bytes = int(np.prod(shape[2:])) * self.dtype.itemsize

    def prepare(self) -> None:
        """Create the file, or correct the header and the size of an existing one.

        Anything else of that name, such as a link, is moved aside: nothing is written through it.

        Raises:
            StorageError: the file cannot be written.
        """
        if lies_there(self.path) and not is_file(self.path):
            move_aside(self.path)
        with storage(self.path):
            self.path.touch()
            with self.path.open("r+b") as file:
                file.write(self.header)
                file.truncate(len(self.header) + self.shape[0] * self.shape[1] * self.row_bytes)

    def write(self, start: int, rows: np.ndarray) -> str:
        """Write ``rows`` (views, n, \\*shape) of the samples from ``start`` on, through to the disk.

        Returns:
            Their digest, as :meth:`digest` computes it.

        Raises:
            StorageError: the file cannot be written; the chunk may then be written in part.
        """
        # Not through the memory map: there a full disk ends the process instead of raising an error.
        stored = np.ascontiguousarray(rows, self.dtype)
        with storage(self.path), self.path.open("r+b") as file:
            for view, part in enumerate(stored):
                file.seek(self._offset(view, start))
                file.write(part.data)
            file.flush()
            os.fsync(file.fileno())
        return hashlib.sha256(stored.data).hexdigest()

    def digest(self, start: int, stop: int) -> str | None:
        """Compute the SHA-256 of a chunk on disk, view by view; return None if the file is missing or another array."""
        digest = hashlib.sha256()
        try:
            if not is_file(self.path):
                return None
            with self.path.open("rb") as file:
                if file.read(len(self.header)) != self.header:
                    return None
                for view in range(self.shape[0]):
                    file.seek(self._offset(view, start))
                    digest.update(file.read((stop - start) * self.row_bytes))
        except OSError:
            return None
        return digest.hexdigest()

    def open(self) -> np.ndarray:
        """Return the array, memory-mapped and read-only."""
        with storage(self.path):
            return np.asarray(np.memmap(self.path, self.dtype, "r", len(self.header), self.shape))

    def _offset(self, view: int, sample: int) -> int:
        return len(self.header) + (view * self.shape[1] + sample) * self.row_bytes
