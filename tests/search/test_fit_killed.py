"""A whole search at toy length, in processes that are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgekd.files import sha256_file
from edgekd.search.study_log import RUNNING, START

RECIPE = """\
name: toy
data: {source: digits, train_limit: 400, test_limit: 100, batch_size: 50}
teacher: {model: small_cnn, args: {width: 16}, train: {epochs: 2, lr: 0.1}}
student: {choice: [teacher, {model: small_cnn, args: {width: 8}}]}
stages:
  - distill: {epochs: 2}
  - prune: {macs: {search: [0.3, 0.9]}, round_to: 2, check_latency: false, epochs: 1}
  - quantize: {epochs: 0, rungs: [ptq], placement: int8}
budget: {accuracy_drop: 30, size_ratio: 0.9}
objective: size
"""
COMMAND = [sys.executable, "-m", "edgekd", "fit"]


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    (folder / "toy.yaml").write_text(RECIPE)
    words = [*COMMAND, "toy.yaml", "--out", "fit", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, cwd=folder, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload]


def events(folder: Path) -> list[dict[str, Any]]:
    path = folder / "fit/journal.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [each for each in found if each["event"] not in (START, RUNNING)]


def decisions(folder: Path) -> list[tuple[Any, ...]]:
    return [(each["event"], each.get("arm"), each.get("share"), each.get("level")) for each in events(folder)]


@pytest.mark.slow
def test_killed_in_the_middle_it_ends_with_the_same_winner(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    out, errors = (process := start(whole)).communicate()
    assert process.returncode == 0, errors
    assert out.splitlines()[-1] == "Budget met"
    for wanted in (2, 5, 8):
        process = start(killed)
        while len(events(killed)) < wanted and process.poll() is None:
            time.sleep(0.1)
        workers = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        # Whoever trained for it ends with it.
        assert not psutil.wait_procs(workers, timeout=120)[1]
    out, errors = (process := start(killed)).communicate()
    assert process.returncode == 0, errors
    assert decisions(killed) == decisions(whole)
    weights = [sorted((folder / "fit/winner/stages").glob("*/weights.safetensors")) for folder in (whole, killed)]
    assert list(map(sha256_file, weights[0])) == list(map(sha256_file, weights[1]))
    # Each stage was trained once.
    logs = [path.read_text() for path in (killed / "fit/trials").glob("*/log.jsonl")]
    keys = [entry["key"] for log in logs for entry in map(json.loads, log.splitlines()) if entry["event"] == "stage"]
    assert len(keys) == len(set(keys))
    # The winner's recipe alone makes the winner again.
    run = [sys.executable, "-m", "edgekd", "run", "fit/winner.yaml", "--out", "alone"]
    assert subprocess.run(run, cwd=killed, capture_output=True).returncode == 0
    alone = sorted((killed / "alone/stages").glob("*/weights.safetensors"))
    assert list(map(sha256_file, alone)) == list(map(sha256_file, weights[1]))


@pytest.mark.slow
def test_what_nothing_can_meet_ends_with_2(tmp_path: Path) -> None:
    out, errors = (process := start(tmp_path, "--set", "budget.size_ratio=0.001")).communicate()
    assert process.returncode == 2, errors
    assert (
        "Budget not met: size_ratio: 0.001 is asked for, and the nearest student is predicted at "
        in out.splitlines()[-1]
    )
    # Nothing but the nearest student was trained.
    assert sum(each["event"] == "trial" for each in events(tmp_path)) == 1
