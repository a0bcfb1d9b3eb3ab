import os
from pathlib import Path

import pytest

from edgekd.errors import DataError
from edgekd.folders import IMAGES, ROWS, search


def fill(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_every_promised_ending_in_any_case_and_depth(tmp_path: Path) -> None:
    names = [
        "a.PNG",
        "b.jpg",
        "c.JPEG",
        "d.jpe",
        "e.jfif",
        "f.bmp",
        "g.GIF",
        "h.webp",
        "i.tif",
        "j.Tiff",
        "k.ppm",
        "l.pgm",
    ]
    fill(tmp_path, *names, "one/two/m.png", "one/n.png", "two.png/o.jpg")
    found = search(tmp_path, IMAGES)
    assert found.files == [*names, "one/n.png", "one/two/m.png", "two.png/o.jpg"]
    assert found.summary() is None


@pytest.mark.parametrize(
    "name",
    [".a.png", "._a.png", ".hidden/a.png", "__MACOSX/a.png", "__MACOSX/deep/._a.png", "Thumbs.db", "DESKTOP.INI",
     ".DS_Store", "deep/.ipynb_checkpoints/a.png"],
)  # fmt: skip
def test_what_is_hidden_is_left_out_in_silence(tmp_path: Path, name: str) -> None:
    fill(tmp_path, name)
    found = search(tmp_path, IMAGES)
    assert (found.files, found.summary()) == ([], None)


def test_all_else_is_counted_by_reason(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "notes.txt", "b.heic", "deep/c.HEIC", "README", "elsewhere/d.png")
    (tmp_path / "deep" / "empty.png").touch()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "file.png").symlink_to(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    found = search(tmp_path, IMAGES)
    assert found.files == ["a.png", "file.png", "elsewhere/d.png"]
    assert found.summary() == (
        "left out: 4 files that are no images (.heic, .txt, no ending), 3 pipes, devices or broken links, "
        "2 links to folders, 1 empty file"
    )


def test_one_rule_for_tables_too(tmp_path: Path) -> None:
    fill(tmp_path, "a.npy", "deep/b.CSV", "c.png", "._a.csv", "d.\x1b[31m")
    found = search(tmp_path, ROWS)
    assert found.files == ["a.npy", "deep/b.CSV"]
    assert found.summary() == "left out: 2 files that are no tables (.\\x1b[31m, .png)"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o000)
    with pytest.raises(DataError, match="shut: the folder cannot be read"):
        search(tmp_path, IMAGES)
