"""Standard output whose reader has left, that is closed or full: on real pipes and files."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

START = "from edgekd.cli.main import main; main()"


def outcome(words, **streams) -> tuple[int, str]:
    program = [sys.executable, "-c", START, *map(str, words)]
    done = subprocess.run(program, stderr=subprocess.PIPE, text=True, **streams)
    return done.returncode, done.stderr


@pytest.fixture
def pipe() -> Iterator[int]:
    """The end of a pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.fixture
def check(run_folder):
    baseline, runs = run_folder("agreed"), {"same": run_folder("same"), "worse": run_folder("worse", lost=60)}
    return lambda run, *more: ["check", "--baseline", baseline, "--current", runs[run], *more]


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_verdict_is_the_exit_code_though_nobody_reads_it(check, pipe, form):
    assert outcome(check("same", *form), stdout=pipe) == (0, "")
    assert outcome(check("worse", *form), stdout=pipe) == (2, "")


@pytest.mark.parametrize("words", [("--version",), ("recipe", "schema")], ids=" ".join)
def test_what_nobody_reads_ends_with_1_in_silence(pipe, words):
    assert outcome(words, stdout=pipe) == (1, "")


def test_a_closed_output_is_as_good_as_none(check, tmp_path):
    def close() -> None:
        os.close(1)

    assert outcome(["--version"], preexec_fn=close) == (0, "")
    written, kept = tmp_path / "written.xml", tmp_path / "kept.xml"
    assert outcome(check("worse", "--junit", written), preexec_fn=close) == (2, "")
    assert outcome(check("worse", "--junit", kept), stdout=subprocess.DEVNULL) == (2, "")
    assert written.read_bytes() == kept.read_bytes()


@pytest.mark.parametrize("form", ["version", "verdict"])
def test_a_full_disk_is_said_once(check, form):
    words = ["--version"] if form == "version" else check("worse", "--json")
    said = "error: standard output cannot be written: No space left on device; send it to another place\n"
    with Path("/dev/full").open("w") as full:
        assert outcome(words, stdout=full) == (1, said)
