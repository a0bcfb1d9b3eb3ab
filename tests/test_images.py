import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd.errors import DataError
from edgekd.images import FORMATS, open_image, prepare, shape_of, to_netpbm
from edgekd.preprocess import Preprocess

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
RGB = Preprocess("image", (3, 4, 6), (0.0,) * 3, (1.0,) * 3)
GREY = Preprocess("image", (1, 4, 6), (0.0,), (1.0,))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width: int, height: int, bits: int, colours: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_promised_format_is_read(kind: str) -> None:
    flat = Image.new("RGB", (6, 4), (255, 0, 0))
    found = RGB.decode(encoded(flat, kind))
    assert np.abs(found.astype(int) - np.array([255, 0, 0]).reshape(3, 1, 1)).max() <= 3


# EXIF 2.32, 4.6.4 A: where the stored row 0 and column 0 lie in the picture.
PLACES: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,  # top, left
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.transpose(1, 0, 2),  # left, top
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],  # right, top
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
    8: lambda a: a.transpose(1, 0, 2)[::-1],  # left, bottom
    9: lambda a: a,  # no orientation at all
}


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", PLACES)
def test_images_are_set_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    content = encoded(Image.fromarray(PIXELS), kind, exif=exif, **options)
    upright = PLACES[orientation](PIXELS)
    image = prepare(open_image(content))
    assert np.array_equal(np.asarray(image), upright)
    assert shape_of(image) == (3, *upright.shape[:2])
    assert np.array_equal(np.asarray(prepare(image)), upright), "not twice"


def test_damaged_exif_data_turn_nothing() -> None:
    content = encoded(Image.fromarray(PIXELS), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert np.array_equal(RGB.decode(content), PIXELS.transpose(2, 0, 1))


def test_a_bundle_of_before_decodes_as_it_was_trained() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    document = RGB.to_json()
    assert (document.pop("orientation"), document.pop("transparency")) == ("exif", "white")
    before = Preprocess.from_json(document)
    assert np.array_equal(before.decode(encoded(Image.fromarray(PIXELS), exif=exif)), PIXELS.transpose(2, 0, 1))
    clear = Image.fromarray(np.dstack([PIXELS, np.zeros((4, 6), np.uint8)]))
    assert np.array_equal(before.decode(encoded(clear)), PIXELS.transpose(2, 0, 1))
    assert Preprocess.from_json(before.to_json()) == before
    changes: list[dict[str, Any]] = [{"orientation": "up"}, {"transparency": None}, {"orientation": []}]
    for wrong in changes:
        with pytest.raises(DataError, match="preprocess"):
            Preprocess.from_json(RGB.to_json() | wrong)


def palette_with_clear_blue() -> Image.Image:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.info["transparency"] = 1
    return image


@pytest.mark.parametrize(
    ("image", "grey"),
    [
        (Image.new("RGBA", (6, 4), (9, 9, 9, 0)), 255),
        (Image.new("LA", (6, 4), (0, 128)), 127),
        (palette_with_clear_blue(), 255),
        (Image.new("RGBA", (6, 4), (9, 9, 9, 255)), 9),
        (Image.new("1", (6, 4), 1), 255),
        (Image.fromarray(np.full((4, 6), 0xC0FF, np.uint16)), 0xC0),
    ],
    ids=["clear", "half clear grey", "clear palette", "opaque", "1 bit", "16 bits"],
)
def test_modes_become_what_is_seen(image: Image.Image, grey: int) -> None:
    content = encoded(image)
    assert (GREY.decode(content) == grey).all()
    assert (RGB.decode(content) == grey).all()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(png_of(6, 4, 16, 0, (b"\0" + b"\x80\x7f" * 6) * 4), id="PNG"),
        pytest.param(png_of(6, 4, 16, 4, (b"\0" + b"\x80\x7f\xff\xff" * 6) * 4), id="PNG with alpha"),
        pytest.param(png_of(6, 4, 16, 2, (b"\0" + b"\x80\x7f" * 18) * 4), id="coloured PNG"),
        pytest.param(b"P5 6 4 65535\n" + b"\x80\x7f" * 24, id="PGM"),
        pytest.param(encoded(Image.fromarray(np.full((4, 6), 0x807F, np.uint16)), "TIFF"), id="TIFF"),
    ],
)
def test_of_16_bits_the_upper_8_count(content: bytes) -> None:
    assert (GREY.decode(content) == 0x80).all()


def test_grey_with_alpha_stays_grey_and_cmyk_is_colour() -> None:
    assert shape_of(prepare(open_image(encoded(Image.new("LA", (6, 4)))))) == (1, 4, 6)
    cyan = encoded(Image.new("CMYK", (6, 4), (255, 0, 0, 0)), "TIFF")
    assert RGB.decode(cyan)[:, 0, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_many_frames_the_first_is_read(kind: str) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    found = RGB.decode(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert (found[0] > 250).all() and (found[2] < 5).all()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\n", id="PostScript"),
        pytest.param(b"%PDF-1.4\n", id="PDF"),
        pytest.param(encoded(Image.fromarray(PIXELS), "ICO"), id="ICO"),
        pytest.param(encoded(Image.fromarray(PIXELS), "TGA"), id="TGA"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="SVG"),
    ],
)
def test_formats_that_are_not_promised_are_not_opened(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"picture\.png: not a readable image \(its content is none of JPEG, PNG"):
        RGB.decode(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM"])
def test_a_cut_file_is_named(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), kind)
    path = tmp_path / "cut.png"
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DataError, match=r"cut\.png: not a readable image"):
        RGB.decode(path)


@pytest.mark.parametrize("size", [(20000, 20000), (9000, 9000), (1 << 20, 1 << 20)])
def test_an_image_too_large_is_named_before_it_is_decoded(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(png_of(*size, 1, 0, b""))
    with pytest.raises(DataError, match=r"scan\.png: is too large .*scale it down, or leave it out"):
        RGB.decode(path)


def test_mutated_images_end_in_one_error(capfd: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    contents = [encoded(Image.fromarray(PIXELS), kind) for kind in FORMATS]
    for number in range(280):
        content = bytearray(contents[number % len(contents)])
        for place in random.integers(0, min(len(content), 200), 3):
            content[place] = random.integers(0, 256)
        try:
            assert RGB.decode(bytes(content)).shape == RGB.shape
        except DataError as error:
            assert "\n" not in str(error)
    assert capfd.readouterr() == ("", "")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: it is a FIFO, not a file"):
        RGB.read(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("mean", "std", "says"),
    [
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "123.675 is outside of 0..1.*divide both by 255"),
        ((0.5,) * 3, (58.0, 0.5, 0.5), "58 is outside"),
        ((-0.5, 0.5, 0.5), (0.5,) * 3, "-0.5 is outside"),
        ((0.5,) * 3, (0.5, 0.5, -0.5), "above 0"),
        ((0.5, 0.5, float("inf")), (0.5,) * 3, "finite"),
    ],
)
def test_the_scale_is_of_pixels_in_0_to_1(mean: tuple[float, ...], std: tuple[float, ...], says: str) -> None:
    with pytest.raises(DataError, match=says):
        Preprocess("image", (3, 4, 6), mean, std)


@pytest.mark.parametrize(
    ("channels", "suffix", "head"), [(1, ".pgm", b"P5\n6 4\n255\n"), (3, ".ppm", b"P6\n6 4\n255\n")]
)
def test_a_file_that_takes_no_decoder(channels, suffix, head):
    pixels = np.ascontiguousarray(PIXELS.transpose(2, 0, 1)[:channels])
    assert to_netpbm(pixels, 24) == (suffix, head + pixels.transpose(1, 2, 0).tobytes())
    with Image.open(io.BytesIO(to_netpbm(pixels, 23)[1])) as smaller:
        assert smaller.size == (3, 2)
