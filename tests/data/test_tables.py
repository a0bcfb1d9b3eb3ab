"""Tables of numbers, and what is wrong in them by file and line."""

import re

import numpy as np
import pytest

from edgekd.data import load_data
from edgekd.errors import DataError
from edgekd.recipe import Data
from edgekd.tasks.regression import Regression

ROWS = [(0.1 * row, row % 7, row**0.5, 3.0 * row) for row in range(40)]


def table(columns: str, rows: object = ROWS) -> str:
    return "\n".join([columns, *(",".join(map(str, row)) for row in rows)]) + "\n"


def saved(folder, train: str, test: str | None = None) -> Data:
    (folder / "train.csv").write_text(train)
    (folder / "test.csv").write_text(train if test is None else test)
    return Data(source="csv", path=folder)


@pytest.mark.parametrize(("columns", "names"), [("a,b,c,y", ("y",)), ("target.u,b,target.v,d", ("u", "v"))])
def test_the_last_column_or_those_that_say_so_are_targets(tmp_path, columns, names):
    data = load_data(saved(tmp_path, table(columns)), kind=Regression)
    assert data.classes == names and data.input_shape == (4 - len(names),)
    rows = np.array(ROWS, np.float32)
    wanted = rows[:, 3:] if len(names) == 1 else rows[:, [0, 2]]
    np.testing.assert_array_equal(data.test.labels.numpy(), wanted)
    assert len(data.task.decoder()["mean"]) == len(names)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1,2,three,4", "train.csv: line 42: c is 'three', expected a number: code categories"),
        ("1,2,,4", "train.csv: line 42: c is an empty cell, expected a number"),
        ("1,2,3,nan", "train.csv: line 42: y is nan, no finite float32; replace it, or drop the row"),
        ("1,2,1_0,4", "train.csv: line 42: c is '1_0', expected a number"),
        ('1,2,"\n",4', "train.csv: line 43: c is an empty cell"),
        ("1,2,3", "train.csv: line 42: 3 values, and there are 4 columns"),
        ("1,2,1e40,4", "train.csv: line 42: c is 1e40, no finite float32"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, line, said):
    with pytest.raises(DataError, match=re.escape(said)):
        load_data(saved(tmp_path, f"{table('a,b,c,y')}{line}\n"), kind=Regression)


def test_tables_that_cannot_be(tmp_path):
    for train, test, said in (
        ("a,y\n", None, "train.csv: holds no rows"),
        (table("a,a,c,y"), None, "line 1: columns are a, a, c, y; give each a name of its own"),
        (table("1,2,3,4"), None, "train.csv: line 1: these are numbers, 1, 2, 3, 4; a table has a line of"),
        ("", None, "train.csv: holds no rows"),
        (table("a,b,c,y"), "a,b,c,y\n", "test.csv: holds no rows"),
        (table("a,b,c,y"), table("a,bb,c,y"), "test.csv: its columns are not those of train.csv: 'bb'"),
        (table("a,b,c,y"), "a,c,y\n1,2,3\n", "test.csv: its columns are not those of train.csv: 'b' is missing"),
        (table("a,b,c,y"), table("a,c,b,y"), "column 2 is 'c', there 'b'; give them in one order"),
        ("a;b;y\n1,5;2;3\n", None, "train.csv: line 1: columns are separated by ';': save it with commas"),
        ("target.a,target.b\n1,2\n", None, "all columns are targets"),
    ):
        with pytest.raises(DataError, match=re.escape(said)):
            load_data(saved(tmp_path, train, test), kind=Regression)
    (tmp_path / "test.csv").unlink()
    with pytest.raises(DataError, match=r"test\.csv"):
        load_data(Data(source="csv", path=tmp_path), kind=Regression)


def test_the_scale_of_targets_is_that_of_training_samples_alone(tmp_path):
    data = load_data(saved(tmp_path, table("a,b,c,y")), kind=Regression)
    train = data.train.labels.numpy()
    np.testing.assert_allclose(data.task.decoder()["mean"], train.mean(0), rtol=1e-5)
    assert len(data.validation) and not np.allclose(train.mean(0), np.array(ROWS)[:, 3].mean())


def test_a_value_that_only_validation_samples_have_is_refused():
    values = np.full((20, 2), np.nan, np.float32)
    values[:, 0] = np.arange(20)
    with pytest.raises(DataError, match="'b' is not known of one sample that is left for training: .* lower data.val"):
        Regression(("a", "b")).adapted(values)
