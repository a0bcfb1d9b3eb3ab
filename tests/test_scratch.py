import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd import scratch
from edgekd.scratch import hold, lock_of, make_scratch, remove_all_scratch, remove_leftovers, remove_scratch

# Says when it has begun, and waits to be killed.
WAITS = "; print(flush=True); import time; time.sleep(60)"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def another(code: str, *arguments: Path) -> "subprocess.Popen[str]":
    """A process that is in the middle of ``code``."""
    imports = (
        "import sys; from pathlib import Path; from edgekd import scratch; paths = list(map(Path, sys.argv[1:])); "
    )
    process = subprocess.Popen(
        [sys.executable, "-c", imports + code + WAITS, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def test_what_a_living_process_works_in_stays_and_goes_when_it_is_dead(tmp_path):
    code = (
        "folder = scratch.make_scratch(paths[0]); (folder / 'a').mkdir(); (folder / 'a/file').write_text('half'); "
        "lock = scratch.hold(scratch.lock_of(paths[0] / 'entry')); lock.__enter__()"
    )
    process = another(code, tmp_path)
    mine = make_scratch(tmp_path)
    remove_leftovers(tmp_path)
    assert len(names(tmp_path)) == 3 and lock_of(tmp_path / "entry").exists()
    kill(process)
    assert len(names(tmp_path)) == 3
    remove_leftovers(tmp_path)
    assert names(tmp_path) == {mine.name}
    remove_scratch(mine)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("step", ["unlocked", "unsigned"])
def test_one_that_was_killed_at_its_very_beginning_goes_too(tmp_path, step):
    folder = tmp_path / f"{scratch.PREFIX}{'0' * 16}"
    folder.mkdir()
    if step == "unsigned":
        (folder / scratch.OWNER).touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == set()


def test_a_kill_in_the_middle_of_the_removal_leaves_what_the_next_one_removes(tmp_path):
    code = (
        "import os, shutil; folder = scratch.make_scratch(paths[0]); "
        "[(folder / name).mkdir() or (folder / name / 'file').touch() for name in 'abc']; "
        "shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), 9); scratch.remove_scratch(folder)"
    )
    kill(another(code, tmp_path))
    assert len(names(tmp_path)) == 1
    remove_leftovers(tmp_path)
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    "name",
    [
        ".env.template",
        ".cache.original",
        ".model.json.abc12_de",
        ".01-teacher-0123456789ab.a1b2c3d4",
        ".edgekd-tmp-notes",
        ".edgekd-tmp-0123456789abcdef",
        ".edgekd-tmp-0123456789ABCDEF",
        ".edgekd-tmp-0123456789abcdef.lock",
        "edgekd-prune-a1b2c3d4",
    ],
)
@pytest.mark.parametrize("kind", ["file", "folder", "link", "link to a folder", "pipe"])
def test_names_that_resemble_ours_stay(tmp_path, name, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "letter").write_text("dear")
    place = tmp_path / "here" / name
    place.parent.mkdir()
    if kind == "file":
        place.write_text("theirs")
    elif kind == "folder":
        place.mkdir()
        (place / "file").write_text("theirs")
        # Such a name has also been locked by others.
        (place / scratch.OWNER).write_text("somebody else")
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(outside / "letter" if kind == "link" else outside)
    before = place.lstat()
    remove_leftovers(place.parent)
    assert place.lstat().st_ino == before.st_ino
    assert (outside / "letter").read_text() == "dear"
    if kind == "folder":
        assert names(place) == {"file", scratch.OWNER}


def test_nothing_of_another_user_is_removed(tmp_path):
    folder = make_scratch(tmp_path)
    scratch._forget()
    if os.geteuid() != 0:
        pytest.skip("only root may give a folder away")
    os.chown(folder, 65534, 65534)
    remove_leftovers(tmp_path)
    assert folder.exists()


def test_a_folder_that_is_not_there_or_cannot_be_read(tmp_path):
    remove_leftovers(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    remove_leftovers(tmp_path / "file")
    assert names(tmp_path) == {"file"}


def test_one_at_a_time(tmp_path):
    lock, waited = lock_of(tmp_path / "entry"), []
    process = another("lock = scratch.hold(paths[0]); lock.__enter__()", lock)
    with pytest.raises(BlockingIOError), hold(lock):
        pass
    with hold(lock, lambda: waited.append(process.send_signal(signal.SIGKILL))):
        assert lock.exists()
    process.communicate()
    assert len(waited) == 1
    assert names(tmp_path) == set()
    with hold(lock, lambda: pytest.fail("nobody has it")):
        pass


def test_a_lock_that_its_owner_removed_is_taken_anew(tmp_path):
    """Two that wait for one file never hold two files of that name."""
    lock = lock_of(tmp_path / "entry")
    with hold(lock):
        lock.unlink()
        with hold(lock):
            assert lock.exists()


def test_a_lock_of_another_name_stays(tmp_path):
    with hold(tmp_path / ".lock"):
        pass
    assert names(tmp_path) == {".lock"}


def test_a_child_owns_nothing_of_its_parent(tmp_path):
    folder = make_scratch(tmp_path)
    child = os.fork()
    if not child:
        remove_all_scratch()
        os._exit(0)
    os.waitpid(child, 0)
    assert folder.is_dir()
    remove_all_scratch()
    assert names(tmp_path) == set()


def test_one_that_leaves_in_the_middle_takes_its_names_along(tmp_path):
    make_scratch(tmp_path)
    with hold(lock_of(tmp_path / "entry")):
        remove_all_scratch()
        assert names(tmp_path) == set()
        with hold(lock_of(tmp_path / "entry")):
            pass
        # Of another process, by now: the end of the block is none of its business.
        lock_of(tmp_path / "entry").touch()
    assert names(tmp_path) == {lock_of(tmp_path / "entry").name}
