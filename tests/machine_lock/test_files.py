import os
import tempfile
from pathlib import Path

import pytest

from edgekd.machine_lock.files import EXCLUSIVE, LOCK, SHARED, open_and_lock
from edgekd.machine_lock.holders import command_of, holders
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
        assert command_of(one.pid).startswith("-c ") and len(command_of(one.pid)) == 80
    assert holders(tmp_path / LOCK) == holders(tmp_path / "none") == []
    assert command_of(one.pid) == "a process that has ended"
