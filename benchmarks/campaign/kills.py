"""Runs that are killed at random moments of every phase, and started again until they are done."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from campaign.runs import PHASES, Place, Reference, hashes
from campaign.seeds import look, plant

LANES = 2
LIMIT_S = 300.0
GONE_S = 10.0
METHODS = ("SIGKILL", "SIGTERM", "group SIGKILL", "SIGINT", "group SIGTERM")
MEASURING = ("latency on this CPU", "prune: starts")
TO_CHILDREN = ("children SIGKILL", "SIGKILL", "children SIGTERM", "SIGTERM", "group SIGKILL")
# torch's compiler keeps its cache there, and ONNX Runtime the number of its session.
THEIRS = re.compile(r"torchinductor_.*|\.ses")
CODES = {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130}


@dataclass(frozen=True)
class Kill:
    phase: str
    method: str
    seconds_into_it: float
    landed: bool
    """The run was in that phase."""
    code: int
    documented: bool
    """The end is one that the docs name, in one line."""
    orphans: int


@dataclass
class Killed:
    """What came of all rounds."""

    kills: list[Kill] = field(default_factory=list)
    same: int = 0
    foreign: int = 0
    touched: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)

    def add(self, other: "Killed") -> None:
        self.kills += other.kills
        self.same += other.same
        self.foreign += other.foreign
        self.touched += other.touched
        self.left += other.left
        self.different += other.different

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def kills(folder: Path, whole: Reference, rounds: int, chance: random.Random, each: int) -> Killed:
    """``rounds`` runs, two at a time, each of them killed ``each`` times."""
    seeds = [chance.random() for _ in range(rounds)]
    found = Killed()
    with ThreadPoolExecutor(LANES) as pool:
        for outcome in pool.map(
            lambda number: _round(Place.new(folder / str(number)), whole, random.Random(seeds[number]), number, each),
            range(rounds),
        ):
            found.add(outcome)
    return found


def _round(place: Place, whole: Reference, chance: random.Random, number: int, count: int) -> Killed:
    found = Killed()
    place.run.mkdir()
    seeds = plant(place.run, 140)
    before = look(seeds)
    step = len(PHASES) / count
    for index in range(count):
        phase = PHASES[int((index + 0.5) * step)]
        methods = TO_CHILDREN if phase in MEASURING else METHODS
        kill = _kill(place, phase, methods[(number + index) % len(methods)], chance, whole.phases[phase])
        print(f"round {number}: {kill}", file=sys.stderr)
        found.kills.append(kill)
        found.touched += _touched(before, seeds)
        if kill.method.endswith(("SIGTERM", "SIGINT")) and kill.landed and "children" not in kill.method:
            found.left += [f"after {kill.method}: {path}" for path in _left(place, seeds, at_work=True)]
        if not index:  # the folders are there by now
            more = [*plant(place.run / "stages", 40, 140)]
            seeds, before = seeds + more, before | look(more)
    entry = next((place.run / "stages").glob("00-teacher-*"), None)
    more = plant(entry or place.run / "stages", 20, 180)
    seeds, before = seeds + more, before | look(more)
    code, said = _finish(place)
    if code:
        found.different.append(f"round {number} ended with {code}: {said[-2000:]}")
    now = hashes(place.run)
    found.different += [name for name in now.keys() | whole.hashes.keys() if now.get(name) != whole.hashes.get(name)]
    found.same = int(not found.different)
    found.foreign = len(seeds)
    found.touched += _touched(before, seeds)
    found.left += _left(place, seeds, at_work=False)
    return found


def _kill(place: Place, phase: str, method: str, chance: random.Random, seconds: float) -> Kill:
    process = place.start()
    said: list[str] = []
    reached = threading.Event()
    reader = threading.Thread(target=_read, args=(process, phase, said, reached), daemon=True)
    reader.start()
    reached.wait(LIMIT_S)
    moment = chance.uniform(0, seconds)
    time.sleep(moment)
    if "children" in method and not _children(process, seconds):
        method = method.removeprefix("children ")
    children = _children(process)
    landed = process.poll() is None
    _send(process, method)
    try:
        code = process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    _, alive = psutil.wait_procs(children, timeout=GONE_S)
    reader.join(GONE_S)
    text = "".join(said)
    # Behind the last phase there is only Python's own end, where signals are ignored.
    landed = landed and not (phase == PHASES[-1] and code == 0)
    expected = {CODES[method.split()[-1]]} if "children" not in method else {0, 1}
    documented = code in (expected if landed else expected | {0})
    documented = documented and "Traceback" not in text and "did not expect" not in text
    return Kill(phase, method, round(moment, 2), landed, code, documented, len(alive))


def _read(process: "subprocess.Popen[str]", phase: str, said: list[str], reached: threading.Event) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if line.strip().startswith(phase):
            reached.set()
    reached.set()


def _children(process: "subprocess.Popen[str]", patience: float = 0.0) -> list[psutil.Process]:
    end = time.monotonic() + patience
    while True:
        with suppress(psutil.Error):
            if found := psutil.Process(process.pid).children(recursive=True):
                return found
        if time.monotonic() >= end:
            return []
        time.sleep(0.02)


def _send(process: "subprocess.Popen[str]", method: str) -> None:
    number = getattr(signal, method.split()[-1])
    if method.startswith("children"):
        for child in _children(process):
            with suppress(psutil.Error):
                child.send_signal(number)
    elif method.startswith("group"):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
    else:
        process.send_signal(number)


def _finish(place: Place) -> tuple[int, str]:
    process = place.start()
    _, said = process.communicate(timeout=2 * LIMIT_S)
    return process.returncode, said


def _touched(before: dict[str, str], seeds: list[Path]) -> list[str]:
    now = look(seeds)
    return [f"{path}: {facts} is {now.get(path)}" for path, facts in before.items() if now.get(path) != facts]


def _left(place: Place, seeds: list[Path], at_work: bool) -> list[str]:
    """Temporary names, and of a run that is done the places of its work too."""
    ours = set(seeds)
    patterns = (".edgekd-tmp-*",) if at_work else (".edgekd-tmp-*", ".work-*", "edgekd-aside")
    found = [path for root in (place.run, place.cache) for pattern in patterns for path in root.rglob(pattern)]
    temporary = [path for path in place.temporary.iterdir() if not THEIRS.fullmatch(path.name)]
    return [str(path) for path in (*found, *temporary) if path not in ours]
