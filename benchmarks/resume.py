"""Kills the quickstart by SIGKILL at random moments until it is through, and compares its bytes with a run left alone.

python benchmarks/resume.py --json benchmarks/results/resume.json
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from common import finish, goal, options

from edgekd.agent.cpus import usable_cpus
from edgekd.files import sha256_file

ROOT = Path(__file__).parents[1]
# Shorter than the quickstart, and nothing timed: a target elsewhere is skipped.
SHORTER = (
    *("teacher.args.width=16", "teacher.train.epochs=12", "distill.epochs=10", "prune.epochs=6", "quantize.epochs=3"),
    "targets=[{device: elsewhere, runtime: tensorrt, architecture: arm}]",
    "budget={}",
)
SHORTEST = (*SHORTER, "teacher.train.epochs=2", "distill.epochs=1", "prune.epochs=1", "quantize.epochs=1")


def command(out: Path, quick: bool) -> list[str]:
    settings = [part for setting in (SHORTEST if quick else SHORTER) for part in ("--set", setting)]
    return [sys.executable, "-m", "edgekd", "run", str(ROOT / "recipes/quickstart.yaml"), "--out", str(out), *settings]


def hashes(run: Path) -> dict[str, str]:
    names = ("model.json", "weights.safetensors", "model.onnx", "model.cpu.onnx")
    found = (path for path in sorted(run.rglob("*")) if path.name in names)
    return {str(path.relative_to(run)): sha256_file(path) for path in found}


def start(out: Path, quick: bool) -> subprocess.Popen[str]:
    """Starts the run and waits for its first word, which comes after the libraries are loaded."""
    # A run that begins beside busy processes would take fewer threads, and end in other bytes.
    environment = {"OMP_NUM_THREADS": str(len(usable_cpus())), **os.environ}
    process = subprocess.Popen(
        command(out, quick), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr is not None
    process.stderr.readline()
    threading.Thread(target=process.stderr.read, daemon=True).start()
    return process


def whole_run(out: Path, quick: bool) -> float:
    """Seconds that a run takes after its first word."""
    process = start(out, quick)
    started = time.monotonic()
    if process.wait() != 0:
        sys.exit(f"the run ended with {process.returncode}")
    return time.monotonic() - started


def killed_runs(out: Path, quick: bool, kills: int, seconds: float, seed: int) -> list[dict[str, Any]]:
    """Starts the run again after each kill; says for each what it found it at."""
    moments, found = random.Random(seed), []
    for _ in range(kills):
        process = start(out, quick)
        moment = moments.uniform(0, 2 * seconds / kills)
        time.sleep(moment)
        running = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        entry = {
            "seconds_after_first_word": round(moment, 2),
            "still_running": running,
            "finished_stages": len(list((out / "stages").glob("[0-9]*"))),
            "finished_exports": len(list((out / "exports").glob("[0-9]*"))),
            "checkpoints": len(list((out / "stages").glob(".work-*/*.safetensors"))),
        }
        print(entry, file=sys.stderr)
        found.append(entry)
    return found


def main() -> None:
    arguments = options(__doc__)
    kills = 3 if arguments.quick else 10
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds = whole_run(folder / "whole", arguments.quick)
        found = killed_runs(folder / "killed", arguments.quick, kills, seconds, seed=0)
        whole_run(folder / "killed", arguments.quick)
        whole, killed = hashes(folder / "whole"), hashes(folder / "killed")
    figures = {"seconds_of_a_whole_run": seconds, "kills": found, "whole": whole, "killed": killed}
    same = sum(killed.get(path) == digest for path, digest in whole.items())
    goals = [
        goal("kills of a run at work", kills, sum(entry["still_running"] for entry in found)),
        goal("files with the same sha256, of those of a run never killed", len(whole), same),
        goal("files too many", 0, len(killed.keys() - whole.keys()), at_most=True),
    ]
    finish(arguments, figures, goals)


if __name__ == "__main__":
    main()
