"""Tables as samples: ``train.csv``, ``test.csv`` and, if given, ``val.csv``, whose last columns are targets."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgekd.arrayfiles import to_number
from edgekd.data.arrays import from_arrays
from edgekd.data.layouts import TABLE, TARGET, parts_among, table_folder, targets_of
from edgekd.data.raw import RawData, SourceKeys
from edgekd.errors import DataError, first_line
from edgekd.tasks.task import Task

LARGEST = float(np.finfo(np.float32).max)


def load_tables(data: SourceKeys, kind: type[Task]) -> RawData:
    """Load ``train.csv``, ``test.csv`` and, if given, ``val.csv`` in the folder ``data.path``.

    Raises:
        DataError: a file is missing, is no table, or has other columns than the other one; the message names the line.
    """
    assert data.path is not None
    stems = parts_among((path.stem for path in data.path.glob("*.csv")), data, data.path)
    columns = table_folder(data.path, stems.values())
    targets = targets_of(columns)
    chosen = np.array([name in targets for name in columns])
    names = tuple(name.removeprefix(TARGET) for name in targets)
    rows = {part: _read(data.path / f"{stem}.csv", columns) for part, stem in stems.items()}
    parts = {part: (each[:, ~chosen], each[:, chosen]) for part, each in rows.items()}
    return from_arrays(str(data.path), data, parts, names, kind)


def _read(path: Path, columns: Sequence[str]) -> np.ndarray:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            _, *rows = ((reader.line_num, line) for line in reader if line)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a table ({first_line(error)}); {TABLE}") from error
    if not rows:
        raise DataError(f"{path}: holds no rows; {TABLE}")
    return np.array([_numbers(path, number, line, columns) for number, line in rows])


def _numbers(path: Path, number: int, line: Sequence[str], columns: Sequence[str]) -> list[float]:
    if len(line) != len(columns):
        raise DataError(f"{path}: line {number}: {len(line)} values, and there are {len(columns)} columns")
    found = []
    for name, cell in zip(columns, line, strict=True):
        try:
            found.append(to_number(cell))
        except ValueError as error:
            shown = repr(cell[:40]) if cell.strip() else "an empty cell"
            raise DataError(
                f"{path}: line {number}: {name} is {shown}, expected a number: code categories as numbers, and drop "
                "rows with gaps"
            ) from error
        if not abs(found[-1]) <= LARGEST:  # written so that NaN is refused
            raise DataError(f"{path}: line {number}: {name} is {cell}, no finite float32; replace it, or drop the row")
    return found
