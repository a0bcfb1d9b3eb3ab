import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgekd.artifact_cache import SUMS, ArtifactCache, damaged_file
from edgekd.scratch import hold, lock_of

KEY = "0123456789abcdef" * 4
NAME = "01-distill"


def fill(folder: Path, content: str = "weights") -> None:
    (folder / "weights").write_text(content)
    (folder / "metrics").write_text("{}")


def never(folder: Path) -> None:
    pytest.fail("it is there")


@pytest.fixture
def store(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "stages")


@pytest.fixture
def entry(store: ArtifactCache) -> Path:
    return store.keep(NAME, KEY, fill)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_entry_is_made_once_and_can_be_checked_by_coreutils(store, entry):
    assert entry == store.root / "01-distill-0123456789ab"
    assert store.keep(NAME, KEY, never) == store.find(NAME, KEY) == entry
    assert names(store.root) == {entry.name}
    digest = hashlib.sha256(b"weights").hexdigest()
    assert f"\n{digest}  weights\n" in (entry / SUMS).read_text()
    assert subprocess.run(["sha256sum", "-c", SUMS], cwd=entry, capture_output=True).returncode == 0


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "._weights", "notes", "folder", "link", "broken", "pipe"])
def test_what_lies_beside_is_no_damage_and_stays(store, entry, name):
    path = entry / name
    if name == "folder":
        path.mkdir()
    elif name == "pipe":
        os.mkfifo(path)
    elif name in ("link", "broken"):
        path.symlink_to(entry if name == "link" else "nowhere")
    else:
        path.write_text("theirs")
    assert store.keep(NAME, KEY, never) == entry
    assert os.path.lexists(path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def drop_last_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(True)[:-1]))


def replace(path: Path, make) -> None:
    path.unlink()
    make(path)


DAMAGE = {
    "flipped": lambda entry: (entry / "weights").write_text("Weights"),
    "cut": lambda entry: cut(entry / "weights"),
    "emptied": lambda entry: (entry / "weights").write_text(""),
    "missing": lambda entry: (entry / "metrics").unlink(),
    "a folder": lambda entry: replace(entry / "weights", Path.mkdir),
    "a pipe": lambda entry: replace(entry / "weights", os.mkfifo),
    "a link to the same bytes": lambda entry: (
        (entry / "weights").rename(entry.parent / "moved") and (entry / "weights").symlink_to(entry.parent / "moved")
    ),
    "a broken link": lambda entry: replace(entry / "weights", lambda path: path.symlink_to("nowhere")),
    "sums missing": lambda entry: (entry / SUMS).unlink(),
    "sums emptied": lambda entry: (entry / SUMS).write_text(""),
    "sums cut": lambda entry: cut(entry / SUMS),
    "sums without a line": lambda entry: drop_last_line(entry / SUMS),
    "sums of another folder": lambda entry: (entry / SUMS).write_text(f"{'0' * 64}  ../weights\n"),
    "sums a pipe": lambda entry: replace(entry / SUMS, os.mkfifo),
    "sums no text": lambda entry: (entry / SUMS).write_bytes(b"\xff"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_said_and_mended(store, entry, damage, capsys):
    DAMAGE[damage](entry)
    assert store.find(NAME, KEY) is None
    assert store.keep(NAME, KEY, fill) == entry
    assert damaged_file(entry) is None and names(entry) == {"weights", "metrics", SUMS}
    assert "is not as it was written; 01-distill is run again" in capsys.readouterr().err
    assert store.keep(NAME, KEY, never) == entry


@pytest.mark.parametrize("kind", ["file", "link", "broken link", "link to a whole entry", "folder of others", "pipe"])
def test_what_stands_in_an_entrys_place_is_moved_aside(store, tmp_path, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "letter").write_text("dear")
    place = store.place(NAME, KEY)
    store.root.mkdir()
    if kind == "file":
        place.write_text("theirs")
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder of others":
        place.mkdir()
        (place / "weights").write_text("theirs")
    elif kind == "link to a whole entry":
        place.symlink_to(ArtifactCache(outside).keep(NAME, KEY, fill))
    else:
        place.symlink_to(outside if kind == "link" else "nowhere")
    stood = place.lstat().st_ino
    assert store.keep(NAME, KEY, fill) == place
    assert not place.is_symlink() and damaged_file(place) is None
    assert (store.root / "edgekd-aside" / place.name).lstat().st_ino == stood
    assert (outside / "letter").read_text() == "dear"


def test_a_damaged_entry_with_somebody_elses_file_is_moved_aside_whole(store, entry):
    (entry / "notes.txt").write_text("theirs")
    (entry / "weights").write_text("changed")
    store.keep(NAME, KEY, fill)
    aside = store.root / "edgekd-aside" / entry.name
    assert (aside / "notes.txt").read_text() == "theirs"
    assert names(entry) == {"weights", "metrics", SUMS}


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_stands_in_a_workplaces_place_is_moved_aside(store, tmp_path, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "letter").write_text("dear")
    store.root.mkdir()
    place = store.root / ".work-01-distill-0123456789ab"
    place.write_text("theirs") if kind == "file" else place.symlink_to(outside)

    def work(folder: Path) -> None:
        workplace = store.workplace(NAME, KEY)
        workplace.mkdir()
        (workplace / "step").touch()
        fill(folder)

    store.keep(NAME, KEY, work)
    assert names(store.root) == {"01-distill-0123456789ab", "edgekd-aside"}
    assert names(outside) == {"letter"}


def test_an_entry_that_is_not_good_is_replaced_only_when_the_new_one_is_there(store, entry):
    def fails(folder: Path) -> None:
        raise ValueError

    def is_bad(folder: Path) -> bool:
        return False

    with pytest.raises(ValueError), store.kept(NAME, KEY, fails, is_bad):
        pass
    assert (entry / "weights").read_text() == "weights"
    with store.kept(NAME, KEY, lambda folder: fill(folder, "better"), is_bad) as folder:
        assert (folder / "weights").read_text() == "better"
    assert names(store.root) == {entry.name}


def test_two_that_want_the_same_entry_make_it_once(store, capsys):
    made = []

    def slow(folder: Path) -> None:
        made.append(folder)
        # Opening the store, as a process that comes later does, leaves the half-written entry alone.
        ArtifactCache(store.root)
        other.start()
        other.join(0.2)
        fill(folder)

    other = threading.Thread(target=lambda: ArtifactCache(store.root).keep(NAME, KEY, made.append))
    store.keep(NAME, KEY, slow)
    other.join()
    assert len(made) == 1
    assert capsys.readouterr().err.count("01-distill: another process is at work on it; waiting") == 1
    assert names(store.root) == {"01-distill-0123456789ab"}


def test_where_locks_do_not_hold_the_first_writer_wins(store, monkeypatch):
    def late(folder: Path) -> None:
        fill(folder, "late")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("edgekd.files.hold", lambda *_: hold(lock_of(store.root / "another")))
            store.keep(NAME, KEY, lambda folder: fill(folder, "first"))

    place = store.keep(NAME, KEY, late)
    assert (place / "weights").read_text() == "first"


CODE = """
import sys, time
from pathlib import Path
from edgekd.artifact_cache import ArtifactCache
from tests.test_artifact_cache import fill
root, made = map(Path, sys.argv[1:])
def slowly(folder):
    with made.open("a") as file:
        file.write("x")
    time.sleep(0.01)
    fill(folder)
for number in range(20):
    ArtifactCache(root).keep(f"{number:02d}-stage", "0" * 64, slowly)
"""


def test_four_processes_share_a_store(store, tmp_path):
    made = tmp_path / "made"
    command = [sys.executable, "-c", CODE, str(store.root), str(made)]
    processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert made.read_text() == "x" * 20
    assert names(store.root) == {f"{number:02d}-stage-{'0' * 12}" for number in range(20)}


def test_clearing_leaves_what_is_not_an_entry(store, entry):
    (store.root / ".work-02-prune-0123456789ab").mkdir()
    for name in (".work-mine", "notes", "01-distill-ffffffffffff"):
        (store.root / name).mkdir()
        (store.root / name / "file").touch()
    (store.root / "link").symlink_to(entry)
    (store.root / "file").touch()
    store.clear()
    assert names(store.root) == {".work-mine", "notes", "01-distill-ffffffffffff", "link", "file"}


def test_an_entry_of_an_earlier_version(store, entry):
    sums = entry / SUMS
    sums.write_text("".join(sums.read_text().splitlines(True)[1:]))
    assert store.keep(NAME, KEY, never) == entry


def test_an_entry_that_a_power_cut_emptied_is_made_again(disk_to_cut):
    store = ArtifactCache(disk_to_cut.folder / "stages")
    store.keep(NAME, KEY, fill)
    disk_to_cut.cut()
    assert store.find(NAME, KEY) is None
    assert (store.keep(NAME, KEY, fill) / "weights").read_text() == "weights"
