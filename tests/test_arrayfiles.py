import io
import os
import struct
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from edgekd import arrayfiles
from edgekd.arrayfiles import must_be_finite, read_npy, read_npz, read_rows
from edgekd.errors import DataError


def npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def promising(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(64)


BAD = {
    "terabytes": (promising((1 << 40,)), "promises"),
    "more than there is": (promising((17,)), "promises"),
    "a negative shape": (promising((-1, 4)), "shape"),
    "objects": (npy(np.array([{}], object), allow_pickle=True), "Python objects"),
    "records": (npy(np.zeros(3, [("a", "i4"), ("b", "f8")])), "records"),
    "text": (b"1,2,3\n", "no array in NumPy's format"),
    "nothing": (b"", "no array in NumPy's format"),
    "an endless header": (b"\x93NUMPY\x02\0" + struct.pack("<I", 1 << 31) + b" " * 99, "no array in NumPy's format"),
    "code for a header": (b"\x93NUMPY\x01\0" + struct.pack("<H", 14) + b"__import__('x')", "no array in NumPy's"),
}


@pytest.mark.parametrize("kind", BAD)
def test_an_array_is_refused_by_its_header(tmp_path: Path, kind: str) -> None:
    content, says = BAD[kind]
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.npy.*{says}"):
        read_npy(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(DataError, match=rf"b\.npz.*x.*{says}"):
        read_npz(tmp_path / "b.npz", ["x"])


@pytest.mark.parametrize("dtype", ["u1", ">i2", "<f2", ">f8", "?", "U3", "S2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_plain_arrays_are_read(tmp_path: Path, dtype: str, order: Literal["C", "F"]) -> None:
    array = np.array(np.arange(6).reshape(2, 3).astype(dtype), order=order)
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "b.npz", x=array, y=array[0], more=array)
    assert np.array_equal(read_npy(tmp_path / "a.npy"), array)
    found = read_npz(tmp_path / "b.npz", ["x"], ["y", "none"])
    assert found.keys() == {"x", "y"} and np.array_equal(found["x"], array)


def test_what_unpacks_to_more_than_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "b.npz", x=np.zeros(100_000, np.uint8))
    monkeypatch.setattr(arrayfiles, "HARMLESS", 50_000)
    with pytest.raises(DataError, match=r"b\.npz.*unpacks \d+ B to 100 kB"):
        read_npz(tmp_path / "b.npz", ["x"])
    monkeypatch.setattr(arrayfiles, "_memory", lambda: 10_000)
    monkeypatch.setattr(arrayfiles, "HARMLESS", 1 << 30)
    with pytest.raises(DataError, match=r"b\.npz: promises 100 kB, and this machine has 10\.0 kB of memory"):
        read_npz(tmp_path / "b.npz", ["x"])
    with (tmp_path / "sparse.npy").open("wb") as file:
        file.write(promising((1 << 40,)))
        file.truncate(1 << 43)
    with pytest.raises(DataError, match=r"sparse\.npy: promises 4\.40 TB"):
        read_npy(tmp_path / "sparse.npy")


@pytest.mark.parametrize("name", ["a.npy", "a.csv", "a.npz", "a.txt"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="it is a FIFO, not a file"):
        read_npz(tmp_path / name, ["x"]) if name == "a.npz" else read_rows(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1,2\n1_000,3\n", "line 2: '1_000' is not a number"),
        ("1,2\n3,inf\n", r"row 1 \(from 0\) holds inf"),
        ("1,1e39\n", "holds 1e[+]39, no finite float32"),
        ("a,b\n" + "9" * 200_000 + ",1\n", "not rows of numbers"),
    ],
)
def test_a_wrong_csv_says_where(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(DataError, match=says):
        read_rows(tmp_path / "rows.csv")


@pytest.mark.parametrize("array", [np.zeros((2, 2, 2)), np.ones((2, 2)) * 1j, np.array([["a"]])])
def test_rows_are_numbers(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "rows.npy", array)
    with pytest.raises(DataError, match=r"rows\.npy: h"):
        read_rows(tmp_path / "rows.npy")


def test_the_first_row_that_is_not_finite_is_named() -> None:
    rows = np.ones((9, 3))
    must_be_finite(rows, "x")
    rows[4, 1], rows[7, 0] = np.nan, np.inf
    with pytest.raises(DataError, match=r"x: row 4 \(from 0, the first of 2\) holds nan"):
        must_be_finite(rows, "x")
