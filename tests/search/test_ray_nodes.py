"""A search on two Ray nodes, in a network of their own that has loopback alone; nodes and cluster are killed in it."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgekd.children import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="pip install 'edgekd[ray]' brings what is missing here"),
]

RECIPE = """\
name: toy
data: {source: digits, train_limit: 1000, test_limit: 100, batch_size: 50}
teacher: {model: small_cnn, args: {width: 16}, train: {epochs: 2, lr: 0.1}}
student: {model: small_cnn}
stages:
  - distill: {epochs: 30}
  - quantize: {epochs: 0, rungs: [ptq], placement: int8}
budget: {accuracy_drop: 30}
"""
SWEEP = ("sweep", "toy.yaml", "--grid", "student.args.width=8,9,10,11,12", "--out", "grid")
ADDRESS = "127.0.0.1:6379"
# Of a machine that others keep busy; nothing waits so long on a quiet one.
START_S, WAIT_S = 600.0, 900.0


class Nodes:
    """Ray nodes of this machine, in a network namespace; what they and their searches keep is in ``folder``."""

    def __init__(self, inside: list[str], folder: Path, sockets: str):
        self.inside, self.folder, self.sockets = inside, folder, sockets
        self.processes: list[subprocess.Popen[bytes]] = []
        home = {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.environment = {**os.environ, **home, **token, "OMP_NUM_THREADS": "1"}

    def start(self, *options: str) -> "subprocess.Popen[bytes]":
        """Start a node, and wait until it says that it is up."""
        words = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--node-ip-address=127.0.0.1"]
        words += ["--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats", *options]
        log = self.folder / f"node-{len(self.processes)}.txt"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*self.inside, *words], env=self.environment, stdout=file, stderr=file, start_new_session=True
            )
        self.processes.append(process)
        wait_for(lambda: "Ray runtime started" in log.read_text() or process.poll() is not None, START_S)
        assert process.poll() is None, log.read_text()
        return process

    def search(self, *words: str, **environment: str) -> "subprocess.Popen[str]":
        """Start a command of edgekd."""
        return subprocess.Popen(
            [*self.inside, sys.executable, "-m", "edgekd", *words],
            cwd=self.folder,
            env={**self.environment, **environment},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


def kill(process: "subprocess.Popen[bytes]") -> None:
    """End a node at once, with all that runs on it."""
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # What a raylet has started ends with it, and so does a worker's own process.
    left = psutil.wait_procs(children, timeout=120)[1]
    assert not [each.cmdline() for each in left if is_worker(each)]
    for each in left:
        each.kill()


def is_worker(process: psutil.Process) -> bool:
    try:
        return "edgekd.search.worker" in process.cmdline()
    except psutil.Error:
        return False


def trains(process: "subprocess.Popen[bytes]") -> bool:
    """Tell whether a worker on the node computes, in this half of a second."""
    workers = [each for each in psutil.Process(process.pid).children(recursive=True) if is_worker(each)]
    before = [each.cpu_times().user for each in workers]
    time.sleep(0.5)
    return any(
        each.is_running() and each.cpu_times().user > since + 0.1 for each, since in zip(workers, before, strict=True)
    )


def wait_for(holds: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def overlap(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return bool(first["began"] < second["ended"] and second["began"] < first["ended"])


@pytest.fixture
def inside() -> Iterator[list[str]]:
    """Words before a command that give it a network with loopback alone."""
    up = "ip link set lo up && echo up && exec sleep 3600"
    own = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    if not all(shutil.which(program) for program in ("unshare", "nsenter", "ip")):
        pytest.skip("'apt install util-linux iproute2' brings what is missing here")
    holder = subprocess.Popen([*own, "sh", "-c", up], stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    if holder.stdout.readline() != "up\n":
        pytest.skip("no network namespace can be made here")
    enter = ["nsenter", f"--target={holder.pid}", "--net"]
    yield enter if os.geteuid() == 0 else [*enter, "--user", "--preserve-credentials"]
    holder.kill()
    holder.wait()


@pytest.fixture
def nodes(inside: list[str], tmp_path: Path) -> Iterator[Nodes]:
    (tmp_path / "toy.yaml").write_text(RECIPE)
    # The path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as sockets:
        found = Nodes(inside, tmp_path, sockets)
        yield found
        for process in found.processes:
            if process.poll() is None:
                kill(process)


def start_head(nodes: Nodes) -> "subprocess.Popen[bytes]":
    timing = '{"edgekd-timing-cpu": 1}'
    head = ("--head", "--port=6379", "--include-dashboard=false", f"--resources={timing}")
    return nodes.start(*head, f"--temp-dir={nodes.sockets}")


def test_a_lost_node_costs_one_trial_and_a_lost_cluster_nothing(nodes: Nodes) -> None:
    head = start_head(nodes)
    refused = nodes.search(*SWEEP, "--address", ADDRESS, RAY_AUTH_TOKEN=secrets.token_hex(32))
    assert f"the Ray cluster at {ADDRESS} refuses" in message_of(refused)

    second = nodes.start(f"--address={ADDRESS}")
    search, folder = nodes.search(*SWEEP, "--address", ADDRESS), nodes.folder / "grid"
    journal, placed = folder / "journal.jsonl", folder / "placed.jsonl"

    def second_is_in_the_middle() -> bool:
        both = len(list(folder.glob("worker-*.log"))) == 2 and lines(placed)
        return search.poll() is not None or (bool(both) and trains(second))

    wait_for(second_is_in_the_middle, WAIT_S)
    assert search.poll() is None, search.communicate()
    kill(second)
    wait_for(lambda: search.poll() is not None or len(trials(journal)) >= 3, WAIT_S)
    assert search.poll() is None, search.communicate()
    kill(head)
    assert f"the Ray cluster at {ADDRESS} is gone" in message_of(search, "a node of the cluster was lost")

    jobs = lines(placed)
    timed = [each for each in jobs if each["queue"] == "timing"]
    [node] = {each["node"] for each in timed}
    there = [each for each in jobs if each["node"] == node]
    assert len(timed) >= 3 and len(there) > len(timed)
    assert not [(a, b) for a in timed for b in there if a is not b and overlap(a, b)]

    search = nodes.search(*SWEEP)
    errors = search.communicate()[1]
    assert search.returncode == 0, errors
    assert sorted(each["number"] for each in trials(journal)) == [1, 2, 3, 4, 5]
    assert not [each for each in trials(journal) if "error" in each]
    # No stage that was finished was trained again.
    logs = [path.read_text() for path in (folder / "trials").glob("*/log.jsonl")]
    keys = [entry["key"] for log in logs for entry in map(json.loads, log.splitlines()) if entry["event"] == "stage"]
    assert len(keys) == len(set(keys))


def trials(journal: Path) -> list[dict[str, Any]]:
    return [each for each in lines(journal) if each["event"] == "trial"]


def message_of(search: "subprocess.Popen[str]", *others: str) -> str:
    """The one message that a search ends with 1 for."""
    out, errors = search.communicate(timeout=WAIT_S)
    assert search.returncode == 1 and out == "", (out, errors)
    assert all(other in errors for other in others), errors
    [message] = [line for line in errors.splitlines() if line.startswith("error: ")]
    return message
