import os
import tempfile
from pathlib import Path

import pytest

from edgekd.children import START
from edgekd.machine_lock.files import EXCLUSIVE, LOCK, SHARED, open_and_lock
from edgekd.machine_lock.holders import command_of, described, holders, starter
from tests.machine_lock.processes import Another


def test_every_user_can_lock_it_whatever_the_umask():
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o1777)
        before = os.umask(0o077)
        try:
            first = open_and_lock(Path(name) / LOCK, SHARED)
            os.seteuid(65534)
            second = open_and_lock(Path(name) / LOCK, SHARED)
            assert open_and_lock(Path(name) / LOCK, EXCLUSIVE) is None
        finally:
            os.seteuid(0)
            os.umask(before)
        assert first is not None and second is not None
        os.close(first)
        os.close(second)
        assert (Path(name) / LOCK).stat().st_mode & 0o777 == 0o644
        assert [path.name for path in Path(name).iterdir()] == [LOCK]


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_nothing_but_a_plain_file_is_opened(tmp_path, kind):
    place, letter = tmp_path / LOCK, tmp_path / "letter"
    letter.write_text("dear")
    if kind == "link":
        place.symlink_to(letter)
    elif kind == "folder":
        place.mkdir()
    else:
        os.mkfifo(place)
    with pytest.raises(OSError):
        open_and_lock(place, EXCLUSIVE)
    assert letter.read_text() == "dear"


def test_a_file_that_was_cleared_away_is_made_anew(tmp_path):
    old = open_and_lock(tmp_path / LOCK, EXCLUSIVE)
    (tmp_path / LOCK).unlink()
    new = open_and_lock(tmp_path / LOCK, EXCLUSIVE)
    assert old is not None and new is not None and (tmp_path / LOCK).exists()
    os.close(old)
    os.close(new)


def test_holders_are_named_by_their_command(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKD_MACHINE_LOCK", str(tmp_path))
    with Another("training").must_be_in() as one, Another("training").must_be_in() as two:
        assert holders(tmp_path / LOCK) == sorted([one.pid, two.pid])
        assert command_of(one.pid).endswith(" -c …")
    assert holders(tmp_path / LOCK) == holders(tmp_path / "none") == []
    assert command_of(one.pid) == ""
    assert described(tmp_path / LOCK) == "another process"


def test_a_helper_is_named_by_the_command_that_started_it(monkeypatch):
    """Processes and their parents as the system would tell of them."""
    told = {
        7: ["/usr/bin/python3", "/venv/bin/edgekd", "fit", "r.yaml"],
        8: ["/usr/bin/python3", "-c", START, "edgekd.search.worker"],
        9: ["/usr/bin/python3", "-c", START, "edgekd.agent", "child"],
        10: [],
    }
    monkeypatch.setattr("edgekd.machine_lock.holders._words_of", told.__getitem__)
    monkeypatch.setattr("edgekd.machine_lock.holders._parent_of", {9: 8, 8: 7}.__getitem__)
    for pid in (9, 8, 7):
        monkeypatch.setattr("edgekd.machine_lock.holders.holders", lambda path, pid=pid: [pid])
        assert described(Path()) == "'edgekd fit r.yaml' (pid 7)"
    monkeypatch.setattr("edgekd.machine_lock.holders.holders", lambda path: [10, 7])
    assert described(Path()) == "a process that is ending (pid 10) and 1 more"
    # Its starter has ended, and the system's first process has it.
    monkeypatch.setattr("edgekd.machine_lock.holders._parent_of", {9: 1}.__getitem__)
    assert command_of(starter(9)) == "edgekd"
