"""Images per second of distillation: the textbook loop, torchdistill, and edgekd with its teacher live and cached.

Live it runs as a network, fused, and in int8 where it predicts 99.5 % of the training images as in float; fused else.

    python benchmarks/distill_throughput.py --torchdistill PYTHON --json benchmarks/results/distill_throughput.json

ResNet-56 teaches ResNet-20 on CIFAR-10 from JPEG files, with random crops and flips, on 2 threads. Every contender is
a process of its own that waits while the others take their turns; a ratio is that of the times within rounds. Batches
are of 64: small enough for hundreds of steps per epoch, large enough that 2 threads have work. torchdistill is run by
another interpreter where one is given (``pip install torchdistill`` into a venv of its own), else by this one.

Accuracy is that of the weights after equal epochs on equal images, 3 seeds in pairs, from one checkpoint. "No worse"
means that the difference's 95 % interval reaches 0, and "surely" that its lower end is above −1 point.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cifar10 import ROOT, Study, prepare_study
from common import finish, goal, options, say
from distill_contenders import CACHED, FUSED, INT8, LIVE, STUDENT, TEACHER, TEXTBOOK, TORCHDISTILL, WORKERS, Setup
from paired import accuracy, difference, packed
from rich.console import Console
from rich.table import Table

from edgekd.errors import EdgekdError
from edgekd.files import canonical_json, make_folder, sha256, write_json
from edgekd.recipe import Distill
from edgekd.stages.network import restore
from edgekd.stats.ratios import ratio_of_medians

ENDLESS = 10_000
FASTER, MARGIN = {INT8: 2.0, CACHED: 4.0}, -1.0
PEERS, OURS = (TEXTBOOK, TORCHDISTILL), (LIVE, FUSED, INT8, CACHED)


@dataclass(frozen=True)
class Settings:
    train: int = 2000
    test: int = 5000
    batch_size: int = 64
    epochs: int = 2
    lr: float = 0.005
    views: int = 2
    seeds: int = 3
    rounds: int = 8
    steps: int = 15
    threads: int = 2


QUICK = Settings(train=640, test=100, epochs=1, views=1, seeds=2, rounds=2, steps=2)


@dataclass(frozen=True)
class Room:
    """The folder of images and weights, and who runs in it."""

    folder: Path
    settings: Settings
    study: Study
    peer_python: str

    def setup(self, name: str, seed: int = 0, epochs: int | None = None) -> Path:
        s, data = self.settings, self.study.data
        setup = Setup(
            folder=self.folder, epochs=epochs or s.epochs, seed=seed, batch_size=s.batch_size, lr=s.lr, views=s.views,
            steps=s.steps, mean=data.preprocess.mean, std=data.preprocess.std,
        )  # fmt: skip
        document = {**asdict(setup), "folder": ""}
        # Finished work is found again by the name of its setup.
        path = self.folder / f"{name}-{sha256(canonical_json(document))[:8]}.json"
        write_json(path, document)
        return path

    def start(self, setup: Path, contender: str, what: str) -> "subprocess.Popen[str]":
        python = self.peer_python if contender == TORCHDISTILL else sys.executable
        script = Path(__file__).with_name("distill_contenders.py")
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        threads = {"OMP_NUM_THREADS": str(self.settings.threads), "PYTHONPATH": paths}
        with (self.folder / f"{contender}.log").open("a") as log:
            return subprocess.Popen(
                [python, str(script), str(setup), contender, what],
                env={**os.environ, **threads}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip

    def run(self, setup: Path, contender: str, what: str) -> float:
        """The seconds that the whole process took."""
        started, process = time.monotonic(), self.start(setup, contender, what)
        process.communicate()
        if process.returncode:
            raise EdgekdError(self.reason(contender))
        return time.monotonic() - started

    def reason(self, contender: str) -> str:
        path = self.folder / f"{contender}.log"
        lines = [line for line in path.read_text().splitlines() if line.strip()] or ["it said nothing"]
        return f"{contender} failed: {lines[-1].strip()[:200]}; see {path}"


def fill_room(folder: Path, settings: Settings) -> Study:
    """Puts both networks' weights and the images, an equal number of each class, into ``folder``."""
    study = prepare_study(folder / "study", settings.train, settings.test, teacher_limit=settings.train)
    teacher, student = study.run(0, [Distill(epochs=0)])
    for name, done in ((TEACHER, teacher), (STUDENT, student)):
        torch.save(restore(done.artifact).state_dict(), folder / name)
    assert study.recipe.data.path is not None
    for part, count in (("train", settings.train), ("test", settings.test)):
        for source in sorted(each for each in (study.recipe.data.path / part).iterdir() if each.is_dir()):
            kept = make_folder(folder / "images" / part / source.name)
            for image in sorted(source.iterdir())[: count // len(study.data.classes)]:
                link = kept / image.name
                if not link.is_symlink():
                    link.symlink_to(image.resolve())
    return study


def pace(room: Room, contenders: list[str]) -> dict[str, list[float]]:
    """Seconds of every contender's turn in each round; a first round, which warms up, is left out."""
    setup = room.setup("pace", epochs=ENDLESS)
    processes = {name: room.start(setup, name, "pace") for name in contenders}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    try:
        for turn in range(room.settings.rounds + 1):
            for name in contenders[turn % len(contenders) :] + contenders[: turn % len(contenders)]:
                seconds[name].append(turn_of(room, name, processes[name]))
            say(f"round {turn}: " + ", ".join(f"{name} {each[-1]:.2f} s" for name, each in seconds.items()))
    finally:
        for process in processes.values():
            process.communicate()
    return {name: each[1:] for name, each in seconds.items()}


def turn_of(room: Room, name: str, process: "subprocess.Popen[str]") -> float:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise EdgekdError(room.reason(name))
    return float(answer)


def speeds(room: Room, seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Images per second, and for edgekd how many times that of each peer it is."""
    images = room.settings.batch_size * room.settings.steps
    found: dict[str, Any] = {}
    for name, own in seconds.items():
        found[name] = {"images_per_second": images / float(np.median(own)), "seconds": own}
        for peer in PEERS:
            if name not in PEERS and peer in seconds:
                ratio, interval = ratio_of_medians([[each] for each in seconds[peer]], [[each] for each in own])
                found[name].setdefault("over", {})[peer] = {"ratio": ratio, "ci95": list(interval)}
    return found


def train_all(room: Room, contenders: Sequence[str]) -> dict[str, list[Any]]:
    right: dict[str, list[Any]] = {name: [] for name in contenders}
    for seed in range(room.settings.seeds):
        for name in contenders:
            setup = room.setup(f"train-{seed}", seed)
            file = setup.with_suffix(f".{name}.npy")
            seconds = 0.0 if file.is_file() else room.run(setup, name, "train")
            right[name].append(np.load(file))
            say(f"seed {seed}, {name}: {right[name][-1].mean():.2%}, {seconds:.0f} s")
    return right


def profiles(room: Room) -> dict[str, Any]:
    found = {}
    for name in (LIVE, INT8, CACHED):
        setup = room.setup("profile", epochs=ENDLESS)
        room.run(setup, name, "profile")
        found[name] = json.loads(setup.with_suffix(f".{name}.profile.json").read_text())
    return found


def cache_cost(room: Room, speed: dict[str, Any]) -> dict[str, Any]:
    """What the cache costs, and after how many epochs it has paid."""
    setup = room.setup("fill")
    path = setup.with_suffix(".fill.json")
    if not path.is_file():
        room.run(setup, CACHED, "fill")
    filled = json.loads(path.read_text())
    live, cached = (room.settings.train / speed[name]["images_per_second"] for name in (LIVE, CACHED))
    return {
        **filled,
        "epoch_seconds": {LIVE: live, CACHED: cached},
        "pays_after_epochs": filled["seconds"] / (live - cached),
    }


def show(speed: dict[str, Any], cache: dict[str, Any], profile: dict[str, Any], rows: dict[str, Any]) -> None:
    table = Table("Contender", "Images/s", *(f"times {peer}" for peer in PEERS), "Accuracy %", "Points over best peer")
    for name, about in speed.items():
        over = about.get("over", {})
        ratios = (
            "{ratio:.2f} ({ci95[0]:.2f}–{ci95[1]:.2f})".format(**over[peer]) if peer in over else "" for peer in PEERS
        )
        row = rows.get(name, {})
        points = "{points:+.2f} ({ci95[0]:+.2f} to {ci95[1]:+.2f})".format(**row["over"]) if "over" in row else ""
        shown = f"{row['accuracy']['percent']:.2f}" if row else ""
        table.add_row(name, f"{about['images_per_second']:.0f}", *ratios, shown, points)
    groups = list(dict.fromkeys(group for about in profile.values() for group in about["share"]))
    where = Table("Share of a step", *profile)
    for group in groups:
        where.add_row(group, *(f"{about['share'].get(group, 0):.1%}" for about in profile.values()))
    Console(width=140).print(table, where)
    say(f"the cache: {cache['seconds']:.0f} s to fill, pays after {cache['pays_after_epochs']:.1f} epochs")


def limits(room: Room, speed: dict[str, Any], profile: dict[str, Any]) -> dict[str, Any]:
    """Return how many times the faster peer's speed a step has that takes no longer than its products in float32."""
    rate = max(about["gflops"] for about in profile.values())
    best = max(speed[peer]["images_per_second"] for peer in PEERS if peer in speed)
    least = {
        name: sum(profile[name]["gflops"] * ms for ms in profile[name]["least_ms"].values()) / rate
        for name in (LIVE, CACHED)
    }
    least[CACHED] -= profile[CACHED]["gflops"] * profile[CACHED]["least_ms"][TEACHER] / rate
    at_most = {name: room.settings.batch_size / (ms / 1000) for name, ms in least.items()}
    return {
        "gflops": rate,
        "least_ms_per_step": least,
        "reached": {name: speed[name]["images_per_second"] / each for name, each in at_most.items()},
        "times_faster_peer_at_most": {name: each / best for name, each in at_most.items()},
    }


def goals(speed: dict[str, Any], rows: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for name, bound in FASTER.items():
        value = min(each["ratio"] for each in speed[name]["over"].values())
        found.append(goal(f"{name}: times the faster of the others", bound, value))
        low, high = rows[name]["over"]["ci95"]
        found.append(goal(f"{name}: points over the better of the others, at best", 0.0, high))
        found.append(goal(f"{name}: points over the better of the others, surely", MARGIN, low))
    return [*found, goal("contenders that ran", 6, len(speed))]


def contenders_of(room: Room) -> tuple[list[str], str | None]:
    """Return all of them, or those without torchdistill and why it is left out."""
    tried = subprocess.run([room.peer_python, "-c", "import torchdistill"], capture_output=True, text=True)
    if tried.returncode == 0:
        return [*PEERS, *OURS], None
    why = (tried.stderr.strip().splitlines() or ["it does not start"])[-1]
    say(f"torchdistill is left out: {why}; install it into a venv and give its python with --torchdistill")
    return [TEXTBOOK, *OURS], why


def compared(right: dict[str, list[Any]]) -> dict[str, Any]:
    best = max((peer for peer in PEERS if peer in right), key=lambda peer: np.mean(right[peer]))
    rows: dict[str, Any] = {name: {"accuracy": accuracy(each)} for name, each in right.items()}
    for name in (each for each in OURS if each in right):
        rows[name]["over"] = {"peer": best, **difference(right[name], right[best])}
    return rows


def main() -> None:
    arguments = options(
        __doc__,
        torchdistill={"metavar": "PYTHON", "default": sys.executable, "help": "an interpreter that has it"},
        threads={"type": int, "default": Settings.threads, "help": "of each contender"},
    )
    settings = replace(QUICK if arguments.quick else Settings(), threads=arguments.threads)
    out = arguments.out or ROOT / "runs/distill_throughput"
    folder = make_folder(out / f"{settings.train}-images").resolve()
    room = Room(folder, settings, fill_room(folder, settings), arguments.torchdistill)
    contenders, missing = contenders_of(room)
    fill = room.setup("fill")
    if not fill.with_suffix(".fill.json").is_file():
        room.run(fill, CACHED, "fill")
    speed = speeds(room, pace(room, contenders))
    profile, cache = profiles(room), cache_cost(room, speed)
    # A fused teacher differs by rounding alone.
    right = train_all(room, [each for each in contenders if each != FUSED])
    rows, limit = compared(right), limits(room, speed, profile)
    show(speed, cache, profile, rows)
    say(json.dumps(limit, indent=2))
    figures = {
        **{"settings": asdict(settings), "workers_of_the_others": WORKERS, "missing": missing},
        **{"speed": speed, "cache": cache, "profile": profile, "limit": limit, "rows": rows},
        "right": {name: [packed(one) for one in each] for name, each in right.items()},
    }
    finish(arguments, figures, goals(speed, rows))


if __name__ == "__main__":
    main()
