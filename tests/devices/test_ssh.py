"""Against a real sshd; nothing of ssh is imitated."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from edgekd.devices import connection
from edgekd.devices.address import Address
from edgekd.devices.ssh import Ssh
from edgekd.devices.ssh_errors import CutError, DeviceTimeError
from edgekd.errors import DeviceError
from tests.devices.server import Server

BOARD = Address("board")
SLEEP = ["sleep", "4711"]
ODD = ["two words", "semi;colon", "quo'te", 'double"quote', "$(touch gone)", "-rf", "a:b", "new\nline", "ünï*?"]


def test_words_arrive_as_they_were(clean):
    with Ssh(BOARD, clean.config) as board:
        words = ["printf", "%s\\0", *ODD, "", "\\", "!x", "`id`", "~", "a&b|c>d"]
        assert board.run(words).out.decode().split("\0")[:-1] == words[2:]
        assert board.run(["cat"], stdin=b"\0\xff bytes").out == b"\0\xff bytes"
        assert board.run(["pwd"]).out.decode().strip() == board.folder
        assert board.run(["sh", "-c", "echo so >&2; exit 3"]).code == 3
        assert board.run(["sh", "-c", "exit 255"]).code == 254
        assert board.run(["no-such-command"]).code == 127


@pytest.mark.parametrize("name", ODD)
def test_files_of_any_name_come_and_go(clean, tmp_path, name):
    content = os.urandom(3000)
    (tmp_path / name).write_bytes(content)
    with Ssh(BOARD, clean.config) as board:
        board.push(tmp_path / name, name)
        assert board.run(["cat", "--", f"./{name}"]).out == content
        board.pull(name, tmp_path / "back")
        assert Path(board.folder).stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "back").read_bytes() == content


def test_one_connection_carries_everything(clean):
    with Ssh(BOARD, clean.config) as board:
        for _ in range(5):
            board.run(["true"])
        assert len(clean.sessions()) == 1


def test_lines_come_one_by_one_while_the_input_is_open(clean):
    program = "read a; echo got $a; read b || echo end"
    with Ssh(BOARD, clean.config) as board:
        started, first = time.monotonic(), None
        with board.stream(["sh", "-c", program], 30) as running:
            running.send(b"one\n")
            first = next(iter(running))
        assert (first, time.monotonic() - started < 20) == (b"got one", True)
        with board.stream(["printf", "a\\nb\\nhalf"], 30) as running:
            assert list(running) == [b"a", b"b"]
        failing = ["sh", "-c", "echo oh no >&2; exit 7"]
        with (
            board.stream(failing, 30) as running,
            pytest.raises(DeviceError, match="sh ended on board with code 7: oh no"),
        ):
            list(running)


def test_a_time_limit_ends_the_command_there_too(clean):
    with Ssh(BOARD, clean.config) as board:
        with pytest.raises(DeviceTimeError, match="sleep was not done on board in 1 s"):
            board.run(SLEEP, timeout_s=1)
        assert SLEEP not in [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]


def test_a_connection_that_is_cut(clean):
    with Ssh(BOARD, clean.config) as board:
        with (
            board.stream(["sh", "-c", "echo here; cat"], 30) as running,
            pytest.raises(CutError, match="the connection to board was cut"),
        ):
            for _ in running:
                clean.cut()
        with pytest.raises(CutError):
            board.run(["true"])
        with pytest.raises(CutError):
            board.push(Path(__file__), "x")


def test_a_connection_refused_at_first_is_tried_again(sshd, tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "PAUSE_S", 0.5)
    server = Server(tmp_path)
    starter = threading.Timer(0.7, server.start)
    starter.start()
    try:
        with Ssh(BOARD, server.config) as board:
            assert board.run(["echo", "up"]).out == b"up\n"
    finally:
        starter.join()
        server.stop()


def test_a_process_that_is_killed_leaves_nothing(clean):
    program = (
        "import sys, time; from pathlib import Path; from edgekd.devices.address import Address\n"
        "from edgekd.devices.ssh import Ssh\n"
        "with Ssh(Address('board'), Path(sys.argv[1])) as board:\n"
        "    print(board.folder, board._connection._private, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(clean.config)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    folder, private = map(Path, process.stdout.readline().split())
    assert folder.is_dir()
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while (folder.exists() or clean.sessions()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()
    assert clean.sessions() == []
    # Its own side is what a killed process cannot put away; the next that connects, in another test, does it.
    shutil.rmtree(private, ignore_errors=True)


def test_missing_files(clean, tmp_path):
    with Ssh(BOARD, clean.config) as board:
        with pytest.raises(DeviceError, match="no such file: .*absent; nothing was copied to board"):
            board.push(tmp_path / "absent", "x")
        with pytest.raises(DeviceError, match="absent was not copied from board"):
            board.pull("absent", tmp_path / "x")
