import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekd.errors import DataError
from edgekd.preprocess import PADDING, Preprocess

GREY = Preprocess("image", (1, 4, 6), (0.5,), (0.25,))
RGB = Preprocess("image", (3, 4, 6), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
VECTOR = Preprocess("vector", (3,), (1.0, 2.0, 3.0), (1.0, 2.0, 4.0))


def png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("preprocess", [GREY, RGB, VECTOR])
def test_json_round_trip(preprocess: Preprocess) -> None:
    assert Preprocess.from_json(preprocess.to_json()) == preprocess


@pytest.mark.parametrize(
    "change",
    [{"kind": "sound"}, {"shape": [2, 4, 6]}, {"shape": [4, 6]}, {"shape": [1, 0, 6]}, {"shape": "no"},
     {"std": [0.0]}, {"std": [float("nan")]}, {"mean": [0.1, 0.2]}, {"mean": ["x"]}, {"mean": None}],
)  # fmt: skip
def test_wrong_sections_are_refused(change: dict) -> None:
    with pytest.raises(DataError, match="preprocess"):
        Preprocess.from_json(GREY.to_json() | change)


def test_same_size_keeps_every_pixel() -> None:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    assert np.array_equal(RGB.decode(png(pixels)), pixels.transpose(2, 0, 1))
    assert np.array_equal(RGB.decode(Image.fromarray(pixels)), pixels.transpose(2, 0, 1))


def test_resize_is_width_by_height() -> None:
    pixels = np.zeros((8, 12), np.uint8)
    pixels[:, 6:] = 200
    decoded = GREY.decode(png(pixels))
    assert decoded.shape == (1, 4, 6) and decoded.dtype == np.uint8
    assert (decoded[0, :, :2] == 0).all() and (decoded[0, :, 4:] == 200).all()


def test_grey_becomes_rgb_and_back() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    assert np.array_equal(RGB.decode(png(pixels)), np.stack([pixels] * 3))
    assert np.array_equal(GREY.decode(png(np.stack([pixels] * 3, -1))), pixels[None])


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    pixels = np.full((4, 6), 0x8000, np.uint16)
    assert (GREY.decode(png(pixels)) == 0x80).all()


def test_float_pixels_are_refused() -> None:
    with pytest.raises(DataError, match="32-bit"):
        GREY.decode(Image.fromarray(np.zeros((4, 6), np.float32)))


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_damaged_image_is_named(tmp_path: Path, damage: str) -> None:
    whole = png(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    content = {"empty": b"", "text": b"not an image", "cut": whole[: len(whole) // 2]}[damage]
    path = tmp_path / "part-17.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"part-17\.png.*replace"):
        RGB.decode(path)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^cannot read [^:]*none.png: No such file or directory$"):
        RGB.read(tmp_path / "none.png")


def test_images_are_scaled_then_normalised() -> None:
    raw = np.zeros((2, 3, 4, 6), np.uint8)
    raw[1] = 255
    out = RGB.apply(raw)
    assert out.dtype == np.float32 and out.shape == raw.shape
    assert np.allclose(out[0, :, 0, 0], [-2, -2, -2]) and np.allclose(out[1, :, 0, 0], [3, 2, 4 / 3])


def test_vectors_are_normalised_in_their_own_units() -> None:
    assert np.allclose(VECTOR.apply(np.array([[2.0, 4.0, 7.0]])), [[1, 1, 1]])


@pytest.mark.parametrize(
    "raw",
    [np.zeros((1, 4, 6), np.uint8), np.zeros((1, 1, 6, 4), np.uint8), np.zeros((1, 1, 4, 6), np.float32)],
)
def test_wrong_input_is_refused(raw: np.ndarray) -> None:
    with pytest.raises(DataError, match="preprocess"):
        GREY.apply(raw)


@pytest.mark.parametrize("rows", [[[1, np.nan, 3]], [[1, 2, 1e39]], np.array([["a", "b", "c"]]), np.ones((1, 3)) * 1j])
def test_vectors_are_finite_numbers(rows: object) -> None:
    with pytest.raises(DataError, match="preprocess: "):
        VECTOR.apply(np.asarray(rows))


def test_rows_from_npy_and_csv(tmp_path: Path) -> None:
    rows = np.array([[1.0, 2.5, -3.0], [4.0, 5.0, 6e3]])
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "row.npy", rows[0])
    (tmp_path / "rows.csv").write_text("a,b,c\n1,2.5,-3\n\n4,5,6e3\n")
    assert np.array_equal(VECTOR.read(tmp_path / "rows.npy"), rows)
    assert np.array_equal(VECTOR.read(tmp_path / "row.npy"), rows[:1])
    assert np.array_equal(VECTOR.read(tmp_path / "rows.csv"), rows)


@pytest.mark.parametrize(
    ("text", "says"),
    [("1,2,3\n4,x,6\n", "line 2: 'x'"), ("1,2,3\n4,5\n", "line 2: 2 values"), ("", "no rows"), ("1,2\n", "expected 3"),
     ("1,nan,3\n", "finite")],
)  # fmt: skip
def test_a_wrong_csv_says_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=says):
        VECTOR.read(path)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match="Python objects"):
        VECTOR.read(tmp_path / "rows.npy")


def test_torch_stays_out() -> None:
    code = "import sys, edgekd.preprocess; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_letterboxed_images_keep_their_aspect():
    pre = Preprocess("image", (1, 8, 8), (0.0,), (1.0,), resize="letterbox")
    wide = np.full((4, 16), 200, np.uint8)
    wide[:, 8:] = 50
    found = pre.decode(Image.fromarray(wide))[0]
    assert (found[[0, 1, 2, 5, 6, 7]] == PADDING).all() and pre.placed((4, 16)) == (0, 3, 8, 2)
    assert (found[3:5, :3] == 200).all() and (found[3:5, 5:] == 50).all()
    assert pre.geometry(1, (4, 16)).points(np.array([[[16.0, 4.0]]])).tolist() == [[[8, 5]]]
    same = np.arange(64, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(pre.decode(Image.fromarray(same))[0], same)
    assert Preprocess.from_json(pre.to_json()) == pre
    plain = Preprocess("image", (1, 8, 8), (0.0,), (1.0,))
    assert "resize" not in plain.to_json() and Preprocess.from_json(plain.to_json()) == plain
    with pytest.raises(DataError, match=r"resize is 'crop', expected 'stretch' or 'letterbox'"):
        Preprocess.from_json(pre.to_json() | {"resize": "crop"})
