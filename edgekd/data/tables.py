"""Tables as samples: ``train.csv`` and ``test.csv``, whose last column or columns are targets."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgekd.data.arrays import from_arrays
from edgekd.data.raw import RawData, SourceKeys
from edgekd.errors import DataError, first_line
from edgekd.files import require_file
from edgekd.nearest import nearest
from edgekd.tasks.task import Task

# Of a column's name, for a target; where no column has it the last one is the target.
TARGET = "target."
LARGEST = float(np.finfo(np.float32).max)
LAYOUT = f"a table has a line of column names, then numbers; targets are columns {TARGET}NAME, or the last one"


def load_tables(data: SourceKeys, kind: type[Task]) -> RawData:
    """Load ``train.csv`` and ``test.csv`` in the folder ``data.path``.

    Raises:
        DataError: a file is missing, is no table, or has other columns than the other one; the message names the line.
    """
    assert data.path is not None
    tables = {part: _read(data.path / f"{part}.csv") for part in ("train", "test")}
    (columns, train), (others, test) = tables.values()
    if columns != others:
        raise DataError(f"{data.path / 'test.csv'}: its columns are not those of train.csv: {_odd(columns, others)}")
    targets = [name for name in columns if name.startswith(TARGET)] or columns[-1:]
    chosen = np.array([name in targets for name in columns])
    if chosen.all():
        raise DataError(f"{data.path / 'train.csv'}: all columns are targets; {LAYOUT}")
    names = tuple(name.removeprefix(TARGET) for name in targets)
    parts = [(rows[:, ~chosen], rows[:, chosen]) for rows in (train, test)]
    return from_arrays(str(data.path), data, parts[0], parts[1], names, kind)


def _odd(columns: Sequence[str], others: Sequence[str]) -> str:
    """Say for a message what is the first difference of two tables' columns."""
    if name := next((name for name in others if name not in columns), None):
        return f"{name!r}{nearest(name, columns)}"
    if name := next((name for name in columns if name not in others), None):
        return f"{name!r} is missing"
    place = next(place for place, pair in enumerate(zip(columns, others, strict=True)) if pair[0] != pair[1])
    return f"column {place + 1} is {others[place]!r}, there {columns[place]!r}; give them in one order"


def _read(path: Path) -> tuple[list[str], np.ndarray]:
    require_file(path, DataError)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [(number, line) for number, line in enumerate(csv.reader(file), 1) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a table ({first_line(error)}); {LAYOUT}") from error
    if len(lines) < 2:
        raise DataError(f"{path}: holds no rows; {LAYOUT}")
    (_, columns), *rows = lines
    if len(set(columns)) < len(columns) or not all(map(str.strip, columns)):
        raise DataError(f"{path}: line 1: columns are {', '.join(columns)[:100]}; give each a name of its own")
    return columns, np.array([_numbers(path, number, line, columns) for number, line in rows])


def _numbers(path: Path, number: int, line: Sequence[str], columns: Sequence[str]) -> list[float]:
    if len(line) != len(columns):
        raise DataError(f"{path}: line {number}: {len(line)} values, and there are {len(columns)} columns")
    found = []
    for name, cell in zip(columns, line, strict=True):
        try:
            found.append(float(cell))
        except ValueError as error:
            shown = repr(cell[:40]) if cell.strip() else "an empty cell"
            raise DataError(
                f"{path}: line {number}: {name} is {shown}, expected a number: code categories as numbers, and drop "
                "rows with gaps"
            ) from error
        if not abs(found[-1]) <= LARGEST:  # written so that NaN is refused
            raise DataError(f"{path}: line {number}: {name} is {cell}, no finite float32; replace it, or drop the row")
    return found
