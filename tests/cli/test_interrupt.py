"""Ctrl-C, SIGKILL, a full disk and a read-only one, on real processes and real file systems."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from edgekd.cli.main import main
from edgekd.pipeline.folder import LOCK
from tests.toy import RECIPE, product_hashes, write_recipe

# Nothing is timed here, so nothing needs to be: a target that is elsewhere is skipped.
START, _, END = RECIPE.partition("student:")
STAGE = "stages:\n  - quantize: {epochs: 0, rungs: [ptq], calibration: minmax, placement: int8}\n"
UNTIMED = START + STAGE + "targets:\n  - {device: elsewhere, architecture: x86}\n"


FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["tests.cli.preloaded"])


class Command:
    """``edgekd run`` in a process of its own, forked from one that has imported what it needs."""

    def __init__(self, recipe: Path, out: Path):
        reader, writer = FORKED.Pipe(duplex=False)
        self.process = FORKED.Process(target=run, args=(writer, ["edgekd", "run", str(recipe), "--out", str(out)]))
        self.process.start()
        writer.close()
        self.said = os.fdopen(os.dup(reader.fileno()), errors="replace")

    def wait_for(self, words: str) -> None:
        for line in self.said:
            if words in line:
                return
        pytest.fail(f"the run ended before it said {words!r}")

    def send(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self) -> tuple[int, str]:
        """The exit code, and what was said since."""
        said = self.said.read()
        self.process.join()
        return self.process.exitcode, said


def run(writer: Connection, words: list[str]) -> None:
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    os.dup2(writer.fileno(), 2)
    writer.close()
    with open(1, "w") as out, open(2, "w", buffering=1) as err:
        sys.argv, sys.stdout, sys.stderr = words, out, err
        main()


@contextmanager
def running(recipe: Path, out: Path) -> Iterator[Command]:
    command = Command(recipe, out)
    try:
        yield command
    finally:
        command.process.kill()
        command.process.join()
        command.said.close()


def completed(recipe: Path, out: Path) -> dict[str, str]:
    with running(recipe, out) as command:
        code, said = command.end()
    assert code == 0, said
    return product_hashes(out)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    return completed(write_recipe(folder, UNTIMED), folder / "run")


def test_ctrl_c_ends_within_two_seconds_and_says_how_to_go_on(tmp_path):
    recipe = write_recipe(tmp_path, UNTIMED.replace("train: {epochs: 2", "train: {epochs: 2000"))
    with running(recipe, tmp_path / "run") as command:
        command.wait_for("teacher 2/2000")
        started = time.monotonic()
        command.send(signal.SIGINT)
        code, complaint = command.end()
        assert time.monotonic() - started < 2
    assert code == 130
    assert complaint.rstrip().endswith("interrupted; the same command goes on from here")
    assert "Traceback" not in complaint


@pytest.fixture(scope="module")
def killed_thrice(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    recipe, out, moments = write_recipe(folder, UNTIMED), folder / "run", random.Random(0)
    for words in ("teacher: starts", "quantize", "export"):
        with running(recipe, out) as command:
            command.wait_for(words)
            time.sleep(moments.uniform(0, 0.3))
            command.send(signal.SIGKILL)
    completed(recipe, out)
    return out


def test_killed_at_random_moments_it_ends_in_the_same_bytes(killed_thrice, uninterrupted):
    assert product_hashes(killed_thrice) == uninterrupted


def test_what_a_killed_run_left_is_gone(killed_thrice):
    assert not [path for path in killed_thrice.rglob(".*") if path.name != LOCK]


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a file system of its own needs the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def refused(recipe: Path, out: Path) -> str:
    with running(recipe, out) as command:
        code, said = command.end()
    assert code == 1, said
    assert "Traceback" not in said
    [message] = [line for line in said.splitlines() if line.startswith("error: ")]
    return message


@pytest.fixture(scope="module")
def full_disk(tmp_path_factory):
    """A disk that was too small for a run, the run's recipe, and what was said."""
    folder = tmp_path_factory.mktemp("disk")
    recipe = write_recipe(folder, UNTIMED)
    with mounted(folder / "small", "size=200k") as disk:
        yield disk, recipe, refused(recipe, disk / "run")


def test_a_full_disk_ends_in_one_line_and_leaves_nothing_half_written(full_disk):
    disk, _, message = full_disk
    assert "the disk is full: free some space, or choose another folder with --out" in message
    stages = disk / "run" / "stages"
    # Of a stage that was at work, the networks on its way.
    for entry in [*stages.glob("*"), *stages.glob(".work-*/steps/*")]:
        if not entry.name.startswith(".work-"):
            assert (entry / "SHA256SUMS").exists()
            assert not entry.name.startswith(".")


def test_with_room_again_it_ends_in_the_same_bytes(full_disk, uninterrupted):
    disk, recipe, _ = full_disk
    subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
    assert completed(recipe, disk / "run") == uninterrupted


def test_a_read_only_disk_ends_in_one_line(tmp_path):
    with mounted(tmp_path / "frozen", "ro") as disk:
        message = refused(write_recipe(tmp_path, UNTIMED), disk / "run")
        assert message == (
            f"error: cannot write {disk / 'run'}: the file system is read-only: choose another folder with --out"
        )


DRAWING = """
import time
from edgekd.cli.interrupt import leave_on_signal
from edgekd.log import show_logs
from edgekd.progress import track

show_logs()
leave_on_signal()
for item in track(range(9), "things", 9):
    time.sleep(9)
"""


def test_ctrl_c_clears_the_progress_bar_and_shows_the_cursor():
    terminal, end = os.openpty()
    with subprocess.Popen([sys.executable, "-c", DRAWING], stderr=end) as process:
        os.close(end)
        said = b""
        while b"things" not in said:
            said += os.read(terminal, 1 << 12)
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # the terminal's end
            while more := os.read(terminal, 1 << 12):
                said += more
    os.close(terminal)
    assert process.returncode == 130
    assert said.endswith(b"\r\x1b[2K\x1b[?25hinterrupted\r\n")


ENDING = """
import os, sys, time
from edgekd.cli.interrupt import leave_on_signal

class Ending:
    def __del__(self, write=os.write, sleep=time.sleep):
        write(1, b"ending")
        sleep(0.5)

leave_on_signal()
sys.modules["kept until the interpreter takes itself apart"] = Ending()
sys.exit({code})
"""


@pytest.mark.parametrize("code", [0, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_interpreter_ends_changes_nothing(code, number):
    with subprocess.Popen(
        [sys.executable, "-c", ENDING.format(code=code)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.read(6) == b"ending"
        process.send_signal(number)
        assert process.wait() == code
        assert process.stderr.read() == b""
