"""Kills a search by SIGKILL at random moments until it is through, and compares it with one left alone.

python benchmarks/fit_killed.py --json benchmarks/results/fit_killed.json

A kill hits the search itself, the process that trains its candidates, or one that measures for that one, as a seed
draws it; where the one drawn does not live for a while, another that does. The search itself is started again. There is
about one kill between two of its events, a drawn moment after the first: so a machine that is busy makes it longer and
nothing else. The last one is of a process that measures the winner.
"""

import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from common import finish, goal, options, say
from small_search import small_search

from edgekd.files import sha256_file
from edgekd.search.study_log import RUNNING, START

REST = """\
  - quantize: {epochs: 0, rungs: [ptq], placement: int8}
budget: {accuracy_drop: 30, size_ratio: 0.9, latency_ratio: 9}
objective: size
"""
RECIPE = small_search(teacher=8, distill=8, prune=4) + REST
SEARCH, TRAINING, MEASURING = "the search", "its training process", "a measuring process"
PROCESSES = (SEARCH, TRAINING, MEASURING)
WORDS = {TRAINING: "edgekd.search.worker", MEASURING: "edgekd.agent"}
# Others may be at work: a search takes as long as it takes, and one that hangs is none that ends.
HANGS_S = 3600.0
# So long a kill waits for the process that is drawn: measurements are short.
PATIENCE_S, LAST_S = 5.0, 120.0
Events = list[dict[str, Any]]
Kills = list[dict[str, Any]]


def start(folder: Path) -> psutil.Popen:
    """Start the search, or go on with it."""
    (folder / "toy.yaml").write_text(RECIPE)
    # A search that begins beside busy processes would take fewer threads, and end in other bytes.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "search.log").open("ab") as log:
        words = [sys.executable, "-m", "edgekd", "fit", "toy.yaml", "--out", "fit"]
        return psutil.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log)


def ended(search: psutil.Popen, folder: Path) -> None:
    # 2 where others kept its times from being valid: the winner is there all the same.
    if (code := search.wait(HANGS_S)) not in (0, 2):
        sys.exit(f"the search ended with {code}: {(folder / 'search.log').read_text()[-2000:]}")


def processes(search: psutil.Popen) -> dict[str, psutil.Process]:
    """Return the processes of a search that live, by what they do."""
    found: dict[str, psutil.Process] = {SEARCH: search} if search.poll() is None else {}
    try:
        below = search.children(recursive=True)
    except psutil.Error:
        return found
    for process in below:
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        found |= {name: process for name, module in WORDS.items() if module in words}
    return found


def killed_search(folder: Path, every: int, of: int, delay: float) -> Kills:
    """Kill the search in ``every`` so many gaps between its ``of`` events, up to ``delay`` seconds after one.

    In the last gap, where the winner is measured, a measuring process is killed. Return what each kill found.
    """
    draws, found, search = random.Random(0), [], start(folder)
    drawn = [(count, draws.uniform(0, delay), draws.sample(PROCESSES, 3)) for count in range(1, of - 1, every)]
    for count, moment, order in [*drawn, (of - 1, 0.0, [MEASURING, TRAINING, SEARCH])]:
        while search.poll() is None and len(events(folder)) < count:
            time.sleep(0.05)
        time.sleep(moment)
        alive, patience = processes(search), time.monotonic() + (LAST_S if count == of - 1 else PATIENCE_S)
        while SEARCH in alive and order[0] not in alive and time.monotonic() < patience:
            time.sleep(0.05)
            alive = processes(search)
        victim = next((name for name in order if name in alive), None)
        entry = {"events": len(events(folder)), "seconds_later": round(moment, 2), "killed": victim}
        say(str(entry))
        found.append(entry)
        if victim is None:
            break
        alive[victim].kill()
        if victim == SEARCH:
            workers = [process for name, process in alive.items() if name != SEARCH]
            search.wait()
            # Whoever worked for it ends with it.
            entry["outlived_it"] = len(psutil.wait_procs(workers, timeout=120)[1])
            search = start(folder)
    ended(search, folder)
    return found


def events(folder: Path) -> Events:
    path = folder / "fit/journal.jsonl"
    # The last line may be cut short.
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    return [each for each in found if each["event"] not in (START, RUNNING)]


def decisions(folder: Path) -> list[list[Any]]:
    names = ("event", "arm", "share", "level", "error", "trial")
    return [[each.get(name) for name in names] for each in events(folder)]


def trained(folder: Path) -> list[str]:
    """Return the key of each stage each time that it ran to its end."""
    logs = [*folder.glob("fit/trials/*/log.jsonl"), *folder.glob("fit/prices/*/log.jsonl")]
    logs += folder.glob("fit/winner/log.jsonl")
    lines = [json.loads(line) for path in logs for line in path.read_text().splitlines()]
    return [entry["key"] for entry in lines if entry["event"] == "stage"]


def winner(folder: Path) -> dict[str, str]:
    run = folder / "fit/winner"
    names = ("model.json", "weights.safetensors", "model.onnx", "model.cpu.onnx")
    found = (path for path in sorted(run.rglob("*")) if path.name in names)
    return {str(path.relative_to(run)): sha256_file(path) for path in found}


def main() -> None:
    arguments = options(__doc__)
    every = 4 if arguments.quick else 1
    with tempfile.TemporaryDirectory() as name:
        whole, killed = Path(name, "whole"), Path(name, "killed")
        whole.mkdir()
        killed.mkdir()
        started = time.monotonic()
        ended(start(whole), whole)
        seconds = time.monotonic() - started
        say(f"left alone: {seconds:.0f} s")
        count = len(events(whole))
        found = killed_search(killed, every, count, seconds / count / 6)
        keys = trained(killed)
        figures: dict[str, Any] = {
            "seconds_of_a_search_left_alone": round(seconds, 1),
            "kills": found,
            "decisions": decisions(whole),
            "decisions_of_the_killed": decisions(killed),
            "stages": len(keys),
            "stages_trained_twice": len(keys) - len(set(keys)),
            "winner": winner(whole),
            "winner_of_the_killed": winner(killed),
        }
    hits = [kill for kill in found if kill["killed"]]
    kinds = {kill["killed"] for kill in hits}
    outlived = sum(kill.get("outlived_it", 0) for kill in hits)
    same = figures["winner"].items() & figures["winner_of_the_killed"].items()
    goals = [
        goal("kills of a search at work", len(range(1, count - 1, every)) + 1, len(hits)),
        goal("kinds of processes killed", 2 if arguments.quick else 3, len(kinds)),
        goal("processes that outlived their search", 0, outlived, at_most=True),
        goal("stages trained twice", 0, figures["stages_trained_twice"], at_most=True),
        goal("the same decisions", 1, figures["decisions"] == figures["decisions_of_the_killed"]),
        goal("files of the winner with the same sha256", len(figures["winner"]), len(same)),
    ]
    finish(arguments, figures, goals)


if __name__ == "__main__":
    main()
