"""What goes wrong, through the command and a real sshd: one clear message, and nothing left on either side."""

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from edgekd.devices.remote import Remote
from tests.bench.conftest import write_model
from tests.cli.conftest import Outcome
from tests.cli.conftest import edgekd as edgekd
from tests.devices.conftest import abandoned, left_since, watched
from tests.devices.server import Server, free_port, keygen
from tests.needs import find, require

LONG, IN_PARTS = ("--seconds", 60, "--launches", 1), ("--seconds", 20, "--launches", 40)
ODD = ("two words; 'quoted'", '"$(touch gone)`id`', "-rf *", "new\nline", "ünï&|")


@pytest.fixture(autouse=True)
def registry(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "devices.json"))
    return tmp_path / "devices.json"


@pytest.fixture
def desk(edgekd) -> Callable[..., None]:
    """Names the device ``desk`` behind the host ``board`` of a configuration for ssh."""

    def add(config: Path, python: object = sys.executable, ssh: str = "board") -> None:
        assert edgekd("devices", "add", "desk", "--ssh", ssh, "--ssh-config", config, "--python", python).code == 0

    return add


@pytest.fixture
def model(tmp_path) -> Path:
    return write_model(tmp_path / "model.onnx")


def brief(seconds: float) -> tuple[object, ...]:
    return "--seconds", seconds, "--max-seconds", seconds


@pytest.fixture(params=["probe", "bench"])
def ask(request, edgekd, model) -> Callable[[], Outcome]:
    """Both commands that go to a device."""
    words = {"probe": ("devices", "probe", "desk"), "bench": ("bench", model, "--device", "desk", *LONG)}
    return lambda: edgekd(*words[request.param])


def complaint(done: Outcome) -> str:
    """The one line of a command that failed."""
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1), done
    return done.err.removeprefix("error: ").rstrip()


@contextmanager
def meanwhile(moment: Callable[[], bool], mishap: Callable[[], None]) -> Iterator[None]:
    """``mishap`` comes from outside, as soon as it is its ``moment``."""
    over, happened = threading.Event(), threading.Event()

    def wait() -> None:
        while not over.wait(0.01):
            if moment():
                mishap()
                happened.set()
                return

    waiting = threading.Thread(target=wait)
    waiting.start()
    try:
        yield
    finally:
        over.set()
        waiting.join()
    assert happened.is_set()


def running(server: Server, last_word: str) -> list[psutil.Process]:
    """Interpreters at work there: ``agent.pyz`` for the agent, ``child`` for one that runs a model."""
    return [process for process in server.at_work() if process.info["cmdline"][1:][-1:] == [last_word]
            and Path(process.info["cmdline"][0]) == Path(sys.executable)]  # fmt: skip


def opened(server: Server, count: int) -> Callable[[], bool]:
    """Whether the agent has opened models so often; each is a process of its own."""
    seen: set[int] = set()

    def moment() -> bool:
        seen.update(process.pid for process in running(server, "child"))
        return len(seen) >= count

    return moment


def kill(server: Server, last_word: str) -> Callable[[], None]:
    def mishap() -> None:
        for process in running(server, last_word):
            process.kill()

    return mishap


# ---- no way in


def test_a_host_that_is_down(clean, desk, ask):
    desk(clean.client_config("down", clean.key, None, port=free_port()))
    assert complaint(ask()) == (
        "nothing listens for SSH at board: start sshd there ('sudo systemctl start ssh'), or look at the port"
    )


def test_a_host_that_never_answers(clean, desk, edgekd, monkeypatch):
    monkeypatch.setattr(Remote.__init__, "__defaults__", (1,))  # seconds; the usual ten show nothing more
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        desk(clean.client_config("deaf", clean.key, None, port=deaf.getsockname()[1]))
        assert complaint(edgekd("devices", "probe", "desk")) == (
            "board does not respond: is it on and in this network, and is the port right?"
        )


def test_a_host_that_has_no_such_name(clean, desk, ask):
    desk(clean.config, ssh="nowhere.invalid")
    assert complaint(ask()) == ("no host is called nowhere.invalid: look at its name, or give its address instead")


def test_a_wrong_key(clean, desk, ask, tmp_path):
    desk(clean.client_config("wrong", keygen(tmp_path / "other"), (clean.folder / "host.pub").read_text()))
    assert complaint(ask()) == (
        "board does not accept your key: 'ssh-copy-id board' puts it there, or name the user and the key in your "
        "~/.ssh/config; edgekd never asks for a password"
    )


def test_a_host_key_that_changed(clean, desk, ask, tmp_path):
    keygen(tmp_path / "other")
    desk(clean.client_config("changed", clean.key, (tmp_path / "other.pub").read_text()))
    assert re.match(r"the host key of board is not the one you know: .*'ssh-keygen -R board'", complaint(ask()))


def test_a_host_key_that_is_not_known(clean, desk, ask):
    desk(clean.client_config("new", clean.key, None))
    assert complaint(ask()).startswith("the host key of board is not known yet: 'ssh board' once, compare its")


# ---- no Python there


def test_python_is_missing(clean, desk, ask):
    desk(clean.config, "/no/python3")
    assert complaint(ask()) == (
        "desk has no /no/python3: 'sudo apt install python3' there, or name its Python with "
        f"'edgekd devices add desk --replace --ssh board --python PATH --ssh-config {shlex.quote(str(clean.config))}'"
    )


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 3.6", "{} on desk is Python 3.6 and 3.8 is needed; name another with --python"),
        ("echo broken >&2; exit 1", "{} on desk does not start: broken"),
        ("echo Welcome to the board; exec {python} \"$@\"",
         "desk printed 'Welcome to the board' instead of a response: its login shell prints text to commands; "
         "guard it in ~/.bashrc there, so that it prints to terminals alone"),
    ],
    ids=["old", "broken", "greets"],
)  # fmt: skip
def test_python_is_another_than_is_needed(clean, desk, ask, tmp_path, script, message):
    python = tmp_path / "python 3; it's"
    python.write_text(f"#!/bin/sh\n{script.format(python=sys.executable)}\n")
    python.chmod(0o755)
    desk(clean.config, python)
    assert complaint(ask()) == message.format(python)


# ---- no room there


@pytest.fixture
def narrow(small_disk, tmp_path) -> Iterator[Server]:
    """A server whose sessions have 64 kB for their temporary files."""
    server = Server(tmp_path, temporary=small_disk / "tmp").start()
    try:
        with watched(server):
            yield server
    finally:
        server.stop()


def test_a_disk_too_small_for_the_model(narrow, desk, edgekd, tmp_path):
    desk(narrow.config)
    big = write_model(tmp_path / "big; 'one'.onnx", width=512)
    assert re.fullmatch(
        rf"the disk of board is full: big; 'one'.onnx has 1.05 MB and {narrow.temporary}/edgekd\.\w+ room for "
        r"0.0\d MB; free some, or set TMPDIR there",
        complaint(edgekd("bench", big, "--device", "desk")),
    )


def test_a_disk_that_is_full(narrow, desk, ask, small_disk):
    desk(narrow.config)
    with (small_disk / "hoard").open("wb") as hoard, pytest.raises(OSError, match="No space left"):
        hoard.write(bytes(1 << 20))
    assert re.match(r"the disk of board is full: agent.pyz has 0.0\d MB and .* room for 0.00 MB; ", complaint(ask()))


def test_a_disk_that_takes_nothing(narrow, desk, ask, small_disk):
    desk(narrow.config)
    remount = ["mount", "-o", "remount,{}", str(small_disk)]
    subprocess.run([word.format("ro") for word in remount], check=True)
    said = complaint(ask())
    subprocess.run([word.format("rw") for word in remount], check=True)
    assert said.startswith("no folder can be made on board: mktemp: ")
    assert said.endswith("Read-only file system; free some space, or set TMPDIR there")


# ---- an end in the middle


def test_a_connection_cut_while_a_model_is_copied(clean, desk, edgekd, tmp_path):
    desk(clean.config)
    large = write_model(tmp_path / "large.onnx", width=4000)
    with meanwhile(lambda: any(clean.temporary.glob("*/0.onnx")), clean.cut):
        said = complaint(edgekd("bench", large, "--device", "desk"))
    assert re.fullmatch(r"the connection to board was cut( \(.*\))?; run the command again when it is back", said)


def test_a_connection_cut_before_anything_was_measured(clean, desk, edgekd, model):
    desk(clean.config)
    with meanwhile(opened(clean, 1), clean.cut):
        said = complaint(edgekd("bench", model, "--device", "desk", *LONG))
    assert re.fullmatch(r"the connection to board was cut( \(.*\))?; run the command again when it is back", said)


def test_a_table_that_was_finished_before_the_cut_is_shown(clean, desk, edgekd, model):
    desk(clean.config)
    tables = ("--threads", 1, "--threads", 2, "--launches", 1, "--seconds", 1, "--json", "-")
    with meanwhile(opened(clean, 2), clean.cut):
        done = edgekd("bench", model, "--device", "desk", *tables)
    assert done.code == 1
    assert [row["threads"] for row in json.loads(done.out)["models"]] == [1]
    assert "1 of 2 tables were measured before this: the connection to board was cut" in done.err
    assert json.loads(done.out)["cut"] in done.err


def test_what_was_measured_before_the_cut_counts(clean, desk, edgekd, model):
    desk(clean.config)
    with meanwhile(opened(clean, 4), clean.cut):
        done = edgekd("bench", model, "--device", "desk", *IN_PARTS, "--json", "-")
    assert done.code == 0, done.err
    [row] = json.loads(done.out)["models"]
    assert 1 <= len(row["raw_ns"]) <= 4
    [warning] = [warning for warning in row["warnings"] if warning["code"] in ("cut_short", "time_limit")]
    assert warning["code"] == "cut_short" and warning["message"].startswith(
        f"{len(row['raw_ns'])} of 40 launches were measured before this: the connection to board was cut"
    )
    assert warning["message"] in done.err and "Traceback" not in done.err


def test_an_agent_that_is_killed(clean, desk, edgekd, model):
    desk(clean.config)
    with meanwhile(opened(clean, 1), kill(clean, "agent.pyz")):
        said = complaint(edgekd("bench", model, "--device", "desk", *LONG))
    assert said == "the agent on desk was killed; its memory may have run out: a smaller batch"


def test_a_model_whose_process_is_killed(clean, desk, edgekd, model):
    desk(clean.config)
    with meanwhile(opened(clean, 1), kill(clean, "child")):
        said = complaint(edgekd("bench", model, "--device", "desk", *LONG))
    assert said == f"desk: {model}: the measuring process was ended by SIGKILL; the system may have run out of memory"


def test_a_model_that_does_not_load(clean, desk, edgekd, tmp_path):
    desk(clean.config)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    said = complaint(edgekd("bench", tmp_path / "bad.onnx", "--device", "desk"))
    assert said.startswith(f"desk: {tmp_path}/bad.onnx: does not load in ONNX Runtime ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["probe", "bench"])
def test_a_command_that_is_interrupted(clean, desk, model, command, number):
    desk(clean.config)
    words = {"probe": ("devices", "probe", "desk"), "bench": ("bench", model, "--device", "desk", *LONG)}
    before = abandoned()
    process = subprocess.Popen(
        [sys.executable, "-m", "edgekd", *map(str, words[command])],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    moment = opened(clean, 1) if command == "bench" else lambda: any(clean.temporary.iterdir())
    with meanwhile(moment, lambda: process.send_signal(number)):
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (128 + number, "", "\ninterrupted\n")
    assert left_since(before) == set()


# ---- what is only odd


@pytest.fixture
def late(tmp_path) -> Path:
    """A Python whose clock is 400 days behind: the real one under libfaketime, a test double for the clock alone."""
    require("faketime")
    python = tmp_path / "late"
    faketime = find("faketime")
    python.write_text(f'#!/bin/sh\nexec {faketime} -f -400d {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    return python


def test_a_clock_that_is_wrong_is_told(clean, desk, edgekd, late):
    desk(clean.config, late)
    done = edgekd("devices", "probe", "desk")
    assert (done.code, done.err) == (0, "")
    told = "  missing: the time: its clock is 400 days behind; 'sudo timedatectl set-ntp 1' there"
    assert told in done.out.splitlines()


def test_a_clock_that_is_wrong_times_as_any_other(clean, desk, edgekd, model, late):
    desk(clean.config, late)
    started = time.monotonic()
    done = edgekd(
        "bench", model, "--device", "desk", "--seconds", 0.5, "--max-seconds", 0.5, "--launches", 2, "--json", "-"
    )
    elapsed_ms = 1000 * (time.monotonic() - started)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["environment"]["device"]["clock_ahead_s"] == pytest.approx(-400 * 86400, abs=120)
    [row] = document["models"]
    assert 0 < row["latency_ms"]["p50"] <= row["first_ms"] + row["latency_ms"]["p99"] < elapsed_ms


def test_models_of_any_name(clean, desk, edgekd, tmp_path):
    desk(clean.config)
    models = [write_model(tmp_path / f"{name}.onnx") for name in ODD]
    done = edgekd(
        "bench", *models, "--device", "desk", "--seconds", 0.1, "--max-seconds", 0.1, "--launches", 1, "--json", "-"
    )
    assert done.code == 0, done.err
    assert [row["file"] for row in json.loads(done.out)["models"]] == list(map(str, models))
    assert not Path("gone").exists() and not (Path.home() / "gone").exists()


@pytest.mark.parametrize("name", ["two words", "semi;colon", "quo'te", 'double"quote', "$(touch gone)", "-oUser=x"])
def test_a_host_whose_name_a_shell_would_read(clean, edgekd, registry, name):
    message = f"{name!r} is no name of a host: letters, digits, '.', '-' and '_', not '-' first; anything else can be"
    said = complaint(edgekd("devices", "add", "desk", f"--ssh={name}"))
    assert said.startswith(message) and not registry.exists()
    registry.write_text(json.dumps({"schema_version": 1, "devices": {"desk": {"ssh": name}}}))
    assert message in complaint(edgekd("devices", "probe", "desk"))
    assert not Path("gone").exists()
