"""Ctrl-C, SIGKILL, a full disk and a read-only one, on real processes and real file systems."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.toy import RECIPE, product_hashes, write_recipe

# Nothing is timed here, so nothing needs to be: a target that is elsewhere is skipped.
UNTIMED = RECIPE + "targets:\n  - {device: elsewhere, runtime: onnxruntime}\n"
COMMAND = (sys.executable, "-m", "edgekd", "run")


@contextmanager
def running(recipe: Path, out: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, recipe, "--out", out, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    pytest.fail(f"the run ended before it said {words!r}")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    subprocess.run([*COMMAND, write_recipe(folder, UNTIMED), "--out", folder / "run"], check=True, capture_output=True)
    return product_hashes(folder / "run")


def test_ctrl_c_ends_within_two_seconds_and_says_how_to_go_on(tmp_path):
    recipe = write_recipe(tmp_path, UNTIMED.replace("train: {epochs: 2", "train: {epochs: 2000"))
    with running(recipe, tmp_path / "run") as process:
        wait_for(process, "teacher 2/2000")
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=10)
        assert time.monotonic() - started < 2
    assert process.returncode == 130
    assert complaint.rstrip().endswith("interrupted; the same command goes on from here")
    assert "Traceback" not in complaint


def test_killed_at_random_moments_it_ends_in_the_same_bytes(tmp_path, uninterrupted):
    recipe, out = write_recipe(tmp_path, UNTIMED), tmp_path / "run"
    moments = random.Random(0)
    for words in ("teacher: starts", "distill", "export"):
        with running(recipe, out) as process:
            wait_for(process, words)
            time.sleep(moments.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
    subprocess.run([*COMMAND, recipe, "--out", out], check=True, capture_output=True)
    assert product_hashes(out) == uninterrupted
    assert not [path for path in out.rglob(".*") if path.name != ".lock"]


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
    outcome = subprocess.run([*COMMAND, recipe, "--out", out], capture_output=True, text=True)
    assert outcome.returncode == 1
    assert "Traceback" not in outcome.stderr
    [message] = [line for line in outcome.stderr.splitlines() if line.startswith("error: ")]
    return message


def test_a_full_disk_ends_in_one_line_and_leaves_nothing_half_written(tmp_path, uninterrupted):
    recipe = write_recipe(tmp_path, UNTIMED)
    with mounted(tmp_path / "small", "size=200k") as disk:
        message = refused(recipe, disk / "run")
        assert "the disk is full: free some space, or choose another folder with --out" in message
        stages = disk / "run" / "stages"
        # Of a stage that was at work, the networks on its way.
        for entry in [*stages.glob("*"), *stages.glob(".work-*/steps/*")]:
            if not entry.name.startswith(".work-"):
                assert (entry / "SHA256SUMS").exists()
                assert not entry.name.startswith(".")
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        subprocess.run([*COMMAND, recipe, "--out", disk / "run"], check=True, capture_output=True)
        assert product_hashes(disk / "run") == uninterrupted


def test_a_read_only_disk_ends_in_one_line(tmp_path):
    with mounted(tmp_path / "frozen", "ro") as disk:
        message = refused(write_recipe(tmp_path, UNTIMED), disk / "run")
        assert message == (
            f"error: cannot write {disk / 'run'}: the file system is read-only: choose another folder with --out"
        )
