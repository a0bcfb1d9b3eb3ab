import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from edgekd.errors import MeasurementError, StorageError
from edgekd.machine_lock import give_way, lock, timing, training
from edgekd.machine_lock.files import EXCLUSIVE, LOCK, QUEUE, SHARED, open_and_lock
from tests.machine_lock.processes import Another


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EDGEKD_MACHINE_LOCK", str(tmp_path))
    monkeypatch.setattr(lock, "_said", set())
    return tmp_path


def held(folder: Path) -> str | None:
    """What a stranger finds: a handle of one's own excludes those of this process too."""
    for how, found in ((EXCLUSIVE, None), (SHARED, "training")):
        handle = open_and_lock(folder / LOCK, how)
        if handle is not None:
            os.close(handle)
            return found
    return "timing"


def test_two_processes_never_time_at_once():
    with ExitStack() as stack:
        others = [stack.enter_context(Another("timing", blocks=4)) for _ in range(3)]
        lines = [line for other in others for line in other.end()[1].splitlines() if line != "in"]
    blocks = sorted(tuple(map(float, line.split())) for line in lines)
    assert len(blocks) == 12
    assert all(end <= start for (_, end), (start, _) in pairwise(blocks))


def test_any_number_train_and_a_timing_gets_in_between(folder):
    """One after the other would let go at another time, so that the lock is never free."""
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(Another("training", blocks=1)).must_be_in()
        assert held(folder) == "training"
        started = time.monotonic()
        with timing(timeout_s=20):
            assert time.monotonic() - started < 10
            assert held(folder) == "timing"
        with training():
            pass


def test_training_waits_for_timing_and_says_once_for_whom(folder):
    with Another("timing").must_be_in() as timer, Another("training", blocks=1) as trainer:
        said = trainer.is_said()
        assert re.fullmatch(
            rf"waiting for 'python\S* -c …' \(pid {timer.pid}\), which is timing; EDGEKD_MACHINE_LOCK=off goes on "
            "without waiting",
            said,
        )
        timer.let_go()
        trainer.must_be_in()
        trainer.process.kill()
        assert trainer.end()[2] == ""


def test_timing_waits_for_training_and_for_no_longer_than_asked(folder):
    with Another("training").must_be_in() as trainer:
        with pytest.raises(MeasurementError, match=rf"waited 0\.1 s for '.*' \(pid {trainer.pid}\), which is training"):
            timing(timeout_s=0.1).__enter__()
        # It has left the queue.
        with training():
            assert held(folder) == "training"


@pytest.mark.parametrize("activity", ["timing", "training"])
def test_a_dead_holder_holds_nothing(folder, activity):
    with Another(activity).must_be_in() as other:
        other.send(signal.SIGKILL)
        other.process.wait()
        with timing(timeout_s=0):
            assert held(folder) == "timing"


def test_control_c_ends_the_wait_and_frees_the_queue():
    with Another("training").must_be_in(), Another("timing") as waiting:
        assert "which is training" in waiting.is_said()
        waiting.send(signal.SIGINT)
        code, output, errors = waiting.end()
        assert (code, output) == (-signal.SIGINT, "") and "KeyboardInterrupt" in errors
        with training():
            pass


def test_a_process_does_not_wait_for_itself(folder):
    with training(), training():
        with timing(timeout_s=0), training():
            with timing(timeout_s=0):
                give_way()
                assert held(folder) == "timing"
            assert held(folder) == "timing"
        assert held(folder) == "training"
    assert held(folder) is None


def test_a_timing_that_comes_too_late_leaves_the_training_as_it_was(folder):
    with Another("training").must_be_in(), training():
        with pytest.raises(MeasurementError):
            timing(timeout_s=0).__enter__()
        assert held(folder) == "training"


def test_a_training_does_not_let_go_for_nothing(folder, monkeypatch):
    with training():
        before = lock._process.since
        give_way()
        assert lock._process.since == before
        monkeypatch.setattr(lock, "PIECE_S", 0)
        give_way()
        assert lock._process.since > before and held(folder) == "training"


def child(code: str) -> int:
    imports = "from edgekd.machine_lock import timing, training; "
    return subprocess.run([sys.executable, "-c", imports + code], stderr=subprocess.DEVNULL, timeout=30).returncode


def test_children_have_what_their_parent_has(monkeypatch):
    with timing():
        assert child("timing(timeout_s=0).__enter__()") == 0
        assert child("training().__enter__()") == 0
        inherited = os.environ[lock.HOLDER]
    with training():
        assert child("training().__enter__()") == 0
        assert child("timing(timeout_s=0).__enter__()") != 0
    assert lock.HOLDER not in os.environ
    # One that outlives the block has nothing any more.
    monkeypatch.setenv(lock.HOLDER, inherited)
    with Another("timing").must_be_in():
        assert child("timing(timeout_s=0).__enter__()") != 0


def test_a_forked_child_keeps_nothing_beyond_its_parents_block(folder):
    reader, writer = os.pipe()
    with timing():
        pid = os.fork()
        if not pid:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    os.close(reader)
    assert held(folder) is None
    os.close(writer)
    assert os.waitpid(pid, 0)[1] == 0


def test_ranks_follow_the_first_one(folder, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "parts")
    for rank, found in (("0", "training"), ("1", None)):
        monkeypatch.setenv("RANK", rank)
        with training():
            assert held(folder) == found


def test_it_can_be_switched_off(folder, monkeypatch):
    monkeypatch.setenv("EDGEKD_MACHINE_LOCK", "off")
    with timing(), training():
        give_way()
    assert list(folder.iterdir()) == []


def test_a_folder_that_was_named_must_do(folder, monkeypatch):
    monkeypatch.setenv("EDGEKD_MACHINE_LOCK", str(folder / "none"))
    with pytest.raises(StorageError, match="no such folder; make it, name another one, or set it to 'off'"), timing():
        pass
    # Root may write anywhere else.
    monkeypatch.setenv("EDGEKD_MACHINE_LOCK", "/proc")
    with pytest.raises(StorageError, match="cannot be used: .*name a folder for it by EDGEKD_MACHINE_LOCK"), training():
        pass


def test_without_a_folder_of_all_users_it_warns_once_and_goes_on(folder, monkeypatch, capsys):
    monkeypatch.delenv("EDGEKD_MACHINE_LOCK")
    monkeypatch.setattr("edgekd.machine_lock.files.FOLDERS", (folder,))
    with timing(), training():
        pass
    with training():
        pass
    (said,) = capsys.readouterr().err.splitlines()
    assert "in none of" in said and "others may work meanwhile" in said
    folder.chmod(0o1777)
    with timing():
        assert held(folder) == "timing"
    assert sorted(path.name for path in folder.iterdir()) == sorted([LOCK, QUEUE])
