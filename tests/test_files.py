import errno
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from edgekd.errors import EdgekdError, StorageError
from edgekd.files import (
    canonical_json,
    exchange,
    make_folder,
    move_aside,
    new_folder,
    read_content,
    read_object,
    require_file,
    sha256,
    sha256_file,
    storage,
    temporary_folder,
    write_bytes,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_whole_with_its_folders(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    write_bytes(path, b"one")
    write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644
    write_text(path, "ä")
    assert path.read_bytes() == b"\xc3\xa4"


def test_json_is_sorted_and_has_no_nan(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": [0.1, None]})
    assert json.loads(path.read_text()) == {"a": [0.1, None], "b": 1}
    assert path.read_text().index('"a"') < path.read_text().index('"b"')
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, float("nan"))
    assert json.loads(path.read_text())["b"] == 1


def test_a_full_disk(small_disk):
    path = small_disk / "file"
    write_bytes(path, b"before")
    with pytest.raises(StorageError) as error:
        write_bytes(path, bytes(1 << 20))
    assert str(error.value) == (
        f"cannot write {path}: the disk is full: free some space, or choose another folder with --out, "
        "and run the command again"
    )
    assert names(small_disk) == ["file"]
    assert path.read_bytes() == b"before"


def test_a_full_disk_leaves_no_folder(small_disk):
    with pytest.raises(StorageError, match="the disk is full"), new_folder(small_disk / "stage", bool) as folder:
        write_bytes(folder / "a", b"small")
        write_bytes(folder / "b", bytes(1 << 20))
    assert names(small_disk) == []


def test_a_read_only_disk(small_disk):
    write_bytes(small_disk / "file", b"before")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    says = "the file system is read-only: choose another folder with --out"
    for act, path in (
        (lambda path: write_bytes(path, b"after"), small_disk / "file"),
        (make_folder, small_disk / "folder"),
        (lambda path: new_folder(path, bool).__enter__(), small_disk / "stage"),
    ):
        with pytest.raises(StorageError) as error:
            act(path)
        assert str(error.value) == f"cannot write {path}: {says}"
    assert (small_disk / "file").read_bytes() == b"before"


def test_no_permission(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o500)
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(StorageError, match=f"^cannot write {folder}.*: no permission to write there: choose"):
            write_bytes(folder / "file", b"")
    finally:
        if os.getuid() == 0:
            os.seteuid(0)


@pytest.mark.parametrize("below", ["file/a", "file/a/b", "file"])
def test_a_file_in_the_way_of_a_folder(tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as error:
        make_folder(tmp_path / below)
    assert str(error.value) == (
        f"cannot write {tmp_path / below}: a part of the path is a file, not a folder: choose another folder with --out"
    )


def test_other_refusals_keep_the_systems_words(tmp_path):
    path = tmp_path / ("x" * 300)
    with pytest.raises(StorageError) as error, storage(path):
        path.write_bytes(b"")
    assert str(error.value) == f"cannot write {path}: File name too long"
    with pytest.raises(StorageError, match=r"^cannot write a: something$"), storage(Path("a")):
        raise OSError("something")


def test_a_new_folder_arrives_whole_and_replaces_the_old_one(tmp_path):
    target = tmp_path / "stage"
    for content in (b"one", b"two"):
        with new_folder(target, lambda folder: True) as folder:
            write_bytes(folder / "file", content)
            assert folder.parent.parent == tmp_path
            assert not target.exists() or (target / "file").read_bytes() == b"one"
        assert (target / "file").read_bytes() == content
    assert names(tmp_path) == ["stage"]
    assert target.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError, SystemExit])
def test_a_new_folder_that_fails_leaves_the_old_one(tmp_path, interruption):
    target = tmp_path / "stage"
    with new_folder(target, lambda folder: True) as folder:
        write_bytes(folder / "file", b"old")
    with pytest.raises(interruption), new_folder(target, lambda folder: True) as folder:
        write_bytes(folder / "file", b"new")
        raise interruption
    assert names(tmp_path) == ["stage"]
    assert (target / "file").read_bytes() == b"old"


@pytest.mark.parametrize("kind", ["file", "link", "broken link", "folder of others", "pipe"])
def test_what_is_not_ours_in_a_new_folders_place_is_moved_aside(tmp_path, kind, capsys):
    target, outside = tmp_path / "stage", tmp_path / "outside"
    outside.mkdir()
    (outside / "letter").write_text("dear")
    if kind == "file":
        target.write_text("theirs")
    elif kind == "pipe":
        os.mkfifo(target)
    elif kind == "folder of others":
        target.mkdir()
        (target / "file").write_text("theirs")
    else:
        target.symlink_to(outside if kind == "link" else tmp_path / "nowhere")
    stood = target.lstat().st_ino
    for _ in range(2):
        with new_folder(target, lambda folder: (folder / "ours").exists()) as folder:
            (folder / "ours").touch()
    assert names(target) == ["ours"]
    assert (tmp_path / "edgekd-aside" / "stage").lstat().st_ino == stood
    assert names(tmp_path) == ["edgekd-aside", "outside", "stage"]
    assert (outside / "letter").read_text() == "dear"
    assert f"{target} is not as edgekd made it, or is not edgekd's: moved to" in capsys.readouterr().err


def test_things_moved_aside_do_not_replace_each_other(tmp_path):
    for content in ("one", "two", "three"):
        (tmp_path / "file").write_text(content)
        move_aside(tmp_path / "file")
    aside = tmp_path / "edgekd-aside"
    assert [(aside / name).read_text() for name in ("file", "file-2", "file-3")] == ["one", "two", "three"]


def test_the_faster_of_two_writers_stays(tmp_path):
    target = tmp_path / "stage"
    with new_folder(target, lambda folder: True, stays=lambda folder: (folder / "whole").exists()) as slow:
        (slow / "slow").touch()
        with new_folder(target, lambda folder: True) as fast:
            (fast / "whole").touch()
    assert names(tmp_path) == ["stage"]
    assert names(target) == ["whole"]


@pytest.mark.parametrize(
    "code",
    [
        "os.fsync = lambda handle: os.kill(os.getpid(), 9); files.write_bytes(folder / 'model.json', b'content')",
        "aside = files.new_folder(folder / 'stage', lambda each: True); aside.__enter__(); os.kill(os.getpid(), 9)",
        "tempfile.tempdir = folder; aside = files.temporary_folder(); aside.__enter__(); os.kill(os.getpid(), 9)",
    ],
)
def test_what_a_killed_writer_leaves_the_next_one_removes(tmp_path, code):
    begin = "import os, sys, tempfile; from pathlib import Path; from edgekd import files; folder = Path(sys.argv[1]); "
    killed = subprocess.run([sys.executable, "-c", begin + code, tmp_path])
    assert killed.returncode == -9
    assert [name.startswith(".edgekd-tmp-") for name in names(tmp_path)] == [True]
    write_text(tmp_path / "next", "")
    assert names(tmp_path) == ["next"]


KILLED_AFTER_A_RENAME = """
import os, sys
from pathlib import Path
from edgekd import files

rename = Path.rename

def killed_after(path, place):
    rename(path, place)
    os.kill(os.getpid(), 9)

Path.rename = killed_after
if sys.argv[2] == "no exchange":
    files.exchange = lambda one, other: False
with files.new_folder(Path(sys.argv[1]), lambda folder: True) as folder:
    (folder / "new").touch()
"""


@pytest.mark.parametrize(("system", "left", "kept"), [("exchange", ["new"], "new"), ("no exchange", None, "old")])
def test_a_kill_while_a_folder_is_replaced_loses_neither(tmp_path, system, left, kept):
    target = tmp_path / "stage"
    target.mkdir()
    (target / "old").touch()
    if system == "exchange" and not exchanges(tmp_path):
        pytest.skip("this file system cannot exchange two folders")
    killed = subprocess.run([sys.executable, "-c", KILLED_AFTER_A_RENAME, target, system])
    assert killed.returncode == (0 if left else -9)
    assert (names(target) if target.exists() else None) == left
    write_text(tmp_path / "next", "")
    assert names(target) == [kept]
    assert names(tmp_path) == ["next", "stage"]


def test_after_a_power_cut_a_new_folder_is_whole(disk_to_cut):
    target, content = disk_to_cut.folder / "stage", {"a": b"x" * 5000, "b/c": b"y" * 5000}
    for _ in range(2):  # a new one, and one in the place of another
        with new_folder(target, lambda folder: True) as folder:
            (folder / "b").mkdir()
            for name, each in content.items():
                (folder / name).write_bytes(each)
        disk_to_cut.cut()
        assert {name: (target / name).read_bytes() for name in content} == content
        content = {name: each[::-1] + b"z" for name, each in content.items()}


def exchanges(folder):
    for name in ("one", "other"):
        (folder / name).mkdir()
    able = exchange(folder / "one", folder / "other")
    for name in ("one", "other"):
        (folder / name).rmdir()
    return able


def test_two_folders_are_exchanged(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"of {name}").touch()
    if exchange(tmp_path / "one", tmp_path / "other"):
        assert (names(tmp_path / "one"), names(tmp_path / "other")) == (["of other"], ["of one"])
    assert not exchange(tmp_path / "one", tmp_path / "nowhere")


def test_a_folder_goes_back_where_the_new_one_cannot_be_renamed(tmp_path, monkeypatch):
    target, rename, refusals = tmp_path / "stage", Path.rename, [OSError(errno.EIO, os.strerror(errno.EIO))]
    target.mkdir()
    (target / "old").touch()

    def refused_once(path, place):
        if place == target and refusals:
            raise refusals.pop()
        return rename(path, place)

    monkeypatch.setattr("edgekd.files.exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", refused_once)
    with pytest.raises(StorageError, match="Input/output error"), new_folder(target, lambda folder: True) as folder:
        (folder / "new").touch()
    assert names(tmp_path) == ["stage"]
    assert names(target) == ["old"]


def test_a_temporary_folder_goes_with_its_block(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ValueError), temporary_folder() as folder:
        (folder / "a").mkdir()
        assert folder.parent == tmp_path and folder.stat().st_mode & 0o777 == 0o700
        raise ValueError
    assert names(tmp_path) == []


def test_canonical_json():
    assert canonical_json({"b": [1, 2.5], "a": "ä"}) == b'{"a":"\\u00e4","b":[1,2.5]}'
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("inf"))


def test_hashes(tmp_path):
    """Against FIPS 180-2's own example, and a file larger than one block."""
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    content = bytes(range(256)) * 8192
    (tmp_path / "file").write_bytes(content)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


class Foreign(EdgekdError):
    pass


def special(folder: Path, kind: str) -> Path:
    path = folder / kind
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link to itself":
        path.symlink_to(path)
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("FIFO", "it is a FIFO, not a file"),
        ("socket", "it is a socket, not a file"),
        ("device", "it is a device, not a file"),
        ("folder", "it is a folder, not a file"),
        ("nothing", "No such file or directory"),
        ("link to itself", "Too many levels of symbolic links"),
        ("a\0b", "embedded null"),
        ("\ud800", "surrogates not allowed|No such file"),
        ("n" * 300, "File name too long"),
    ],
)
@pytest.mark.parametrize("read", [require_file, read_content, lambda path, kind: read_object(path, "give one", kind)])
def test_only_plain_files_are_read(tmp_path, kind, said, read):
    with pytest.raises(Foreign, match=said):
        read(special(tmp_path, kind), Foreign)


def test_a_plain_file_is_read_once_and_within_its_limit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * (1 << 20))
    (tmp_path / "link").symlink_to(path)
    assert require_file(tmp_path / "link") == tmp_path / "link"
    assert read_content(path, limit=1 << 20) == b"x" * (1 << 20)
    with pytest.raises(Foreign, match="its 1,048,576 bytes are more"):
        read_content(path, Foreign, limit=(1 << 20) - 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"[1]", "holds no JSON object; give one"), (b"\xff", "byte 0 is not UTF-8; give one"), (b"{", "is no JSON")],
)
def test_a_document_that_is_no_object_is_refused(tmp_path, content, said):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(Foreign, match=said):
        read_object(tmp_path / "a.json", "give one", Foreign)
