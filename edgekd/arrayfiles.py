"""Arrays from untrusted files: .npy, .npz and .csv.

Headers are checked before any memory is taken.
"""

import csv
import io
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgekd.errors import DataError, first_line
from edgekd.files import require_file
from edgekd.folders import ROWS
from edgekd.formatting import size

LONGEST_HEADER = 1 << 14
# Below this size, any compression ratio is accepted.
HARMLESS = 1 << 30
MOST_PACKED = 200
READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class Header:
    """The header of a .npy; ``start`` is the offset of the first value."""

    shape: tuple[int, ...]
    dtype: np.dtype
    start: int

    @property
    def nbytes(self) -> int:
        """Return the size of the values in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy(path: Path) -> np.ndarray:
    """Read the plain array in ``path``.

    Raises:
        DataError: it is no such file, or the array does not fit into memory.
    """
    require_file(path, DataError)
    with path.open("rb") as file:
        header = _header(file, str(path))
        if header.start + header.nbytes > os.fstat(file.fileno()).st_size:
            raise DataError(f"{path}: is cut short; it promises {size(header.nbytes)}. Copy it again")
        _must_fit(header.nbytes, str(path))
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


def names_in_npz(path: Path) -> list[str]:
    """Return the names of the arrays of an archive, in their order there.

    Raises:
        DataError: it is no archive.
    """
    require_file(path, DataError)
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except Exception as error:  # on damage, zipfile raises many kinds
        raise DataError(f"{path} cannot be read as a .npz of plain arrays: {first_line(error)}") from error


def read_npz(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Read the plain arrays ``needed``, and those of ``optional`` that the archive has.

    Raises:
        DataError: it is no archive of them, one is missing, or they do not fit into memory.
    """
    require_file(path, DataError)
    unreadable = f"{path} cannot be read as a .npz of plain arrays"
    try:
        with zipfile.ZipFile(path) as archive:
            there = {info.filename: info for info in archive.infolist()}
            for name in needed:
                if f"{name}.npy" not in there:
                    raise DataError(f"{path} has no array {name!r}; expected {', '.join(needed)}")
            members = {name: there[f"{name}.npy"] for name in (*needed, *optional) if f"{name}.npy" in there}
            for name, info in members.items():
                with archive.open(info) as file:
                    _must_be_honest(_header(file, f"{unreadable}: {name}"), info, f"{unreadable}: {name}")
            _must_fit(sum(info.file_size for info in members.values()), str(path))
            return {name: _read_member(archive, info) for name, info in members.items()}
    except DataError:
        raise
    except Exception as error:  # on damage, zipfile and its decoders raise many kinds
        raise DataError(f"{unreadable}: {first_line(error) or type(error).__name__}") from error


def to_npz(arrays: Mapping[str, np.ndarray], compressed: bool = False) -> bytes:
    """Return an archive of ``arrays``; unlike in ``np.savez``, they may have any names, ``file`` among them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            # Of a fixed date, so that equal arrays give equal bytes.
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = archive.compression
            with archive.open(info, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
    return buffer.getvalue()


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _must_be_honest(header: Header, info: zipfile.ZipInfo, name: str) -> None:
    if header.start + header.nbytes != info.file_size:
        raise DataError(f"{name} promises {size(header.nbytes)} and has {size(info.file_size)}; save it again")
    if info.file_size > HARMLESS and info.file_size > MOST_PACKED * info.compress_size:
        raise DataError(
            f"{name} unpacks {size(info.compress_size)} to {size(info.file_size)}, more than real data do; "
            "save it again with np.savez, which does not pack"
        )


def _header(file: IO[bytes], name: str) -> Header:
    beginning = io.BytesIO(file.read(LONGEST_HEADER))
    try:
        version = np.lib.format.read_magic(beginning)
        shape, _, dtype = READERS[version](beginning)
    except Exception as error:  # NumPy parses the header as Python text, which fails in many ways
        raise DataError(f"{name}: is no array in NumPy's format ({first_line(error)}); save it with np.save") from error
    if dtype.hasobject or dtype.kind == "V":
        what = "Python objects" if dtype.hasobject else f"records of type {str(dtype)[:60]}"
        raise DataError(f"{name}: is no plain array: it holds {what}; save an array of numbers")
    if any(size < 0 for size in shape):
        raise DataError(f"{name}: is no array: its shape is {shape}; save it again")
    return Header(shape, dtype, beginning.tell())


def _must_fit(nbytes: int, name: str) -> None:
    memory = _memory()
    if nbytes > memory:
        raise DataError(f"{name}: promises {size(nbytes)}, and this machine has {size(memory)} of memory")


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return 64 << 30


def read_rows(path: Path) -> np.ndarray:
    """Read a .npy or .csv of one sample per row, as float64 (N, F).

    Raises:
        DataError: it holds anything but finite numbers.
    """
    suffix = path.suffix.lower()
    if suffix not in ROWS.endings:
        require_file(path, DataError)
        raise DataError(f"{path}: expected a .npy or .csv file with one sample per row")
    try:
        rows = np.atleast_2d(read_npy(path)) if suffix == ".npy" else read_csv(path)
        if rows.dtype.kind not in "biuf":
            raise DataError(f"{path}: holds {rows.dtype}, expected numbers")
        rows = rows.astype(np.float64)
    except (OSError, ValueError, EOFError, csv.Error) as error:
        raise DataError(f"{path}: not rows of numbers ({first_line(error)})") from error
    if rows.ndim != 2:
        raise DataError(f"{path}: has the shape {rows.shape}, expected one sample per row")
    must_be_finite(rows, str(path))
    return rows


def as_array(raw: Any, name: str, expected: str) -> np.ndarray:
    """Return what a user gave as an array of numbers; ``name`` and what is ``expected`` are for messages.

    Raises:
        DataError: it is none, or some of its values are masked.
    """
    try:
        array = np.asarray(raw)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name} is no array of numbers ({first_line(error)}); expected {expected}") from error
    if np.ma.is_masked(raw):
        raise DataError(f"{name} has masked values, which would be read as they are below the mask; fill or drop them")
    if array.dtype.kind not in "biufc":
        raise DataError(f"{name} is no array of numbers, but of {str(array.dtype)[:40]}; expected {expected}")
    return array


def must_be_finite(rows: np.ndarray, name: str) -> None:
    """Check that all values of ``rows`` (N, ...) are finite in float32, in which networks compute.

    Raises:
        DataError: a value is not; the message names the first such row.
    """
    with np.errstate(over="ignore"):
        finite = np.isfinite(rows.astype(np.float32, copy=False)).reshape(len(rows), -1)
    wrong = ~finite.all(1)
    if wrong.any():
        first = int(wrong.argmax())
        value = rows[first].ravel()[finite[first].argmin()]
        count = f", the first of {wrong.sum()}" if wrong.sum() > 1 else ""
        raise DataError(
            f"{name}: row {first} (from 0{count}) holds {value}, no finite float32; replace it, or drop the row"
        )


def read_csv(path: Path) -> np.ndarray:
    """Read rows of numbers, below an optional line of column names."""
    require_file(path, DataError)
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = [(number, line) for number, line in enumerate(csv.reader(file), 1) if line]
    if lines and not any(map(is_number, lines[0][1])):
        del lines[0]  # column names
    if not lines:
        raise DataError(f"{path}: holds no rows")
    for number, line in lines:
        wrong = [cell for cell in line if not is_number(cell)]
        if wrong or len(line) != len(lines[0][1]):
            what = f"{wrong[0]!r} is not a number" if wrong else f"{len(line)} values, not {len(lines[0][1])}"
            raise DataError(f"{path}: line {number}: {what}")
    return np.array([[to_number(cell) for cell in line] for _, line in lines])


def is_number(cell: str) -> bool:
    """Return whether the text ``cell`` is a number."""
    try:
        to_number(cell)
    except ValueError:
        return False
    return True


def to_number(cell: str) -> float:
    """Return the number that the text ``cell`` is.

    Raises:
        ValueError: it is none, or has an underscore, which Python ignores in numbers.
    """
    if "_" in cell:
        raise ValueError(f"{cell!r} is no number")
    return float(cell)
