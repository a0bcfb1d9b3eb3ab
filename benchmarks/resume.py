"""Kills the quickstart by SIGKILL at random moments until it is through, and compares its bytes with a run left alone.

python benchmarks/resume.py --json benchmarks/results/resume.json
"""

import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import finish, goal, options

from edgekd.files import sha256_file

ROOT = Path(__file__).parents[1]
# Shorter than the quickstart, and nothing timed: a target elsewhere is skipped.
SHORTER = (
    *("teacher.args.width=16", "teacher.train.epochs=6", "distill.epochs=4", "prune.epochs=3", "quantize.epochs=2"),
    "targets=[{device: elsewhere, runtime: tensorrt}]",
    "budget={}",
)
SHORTEST = (*SHORTER, "teacher.train.epochs=2", "distill.epochs=1", "prune.epochs=1", "quantize.epochs=1")


def command(out: Path, quick: bool) -> list[str]:
    settings = [part for setting in (SHORTEST if quick else SHORTER) for part in ("--set", setting)]
    return [sys.executable, "-m", "edgekd", "run", str(ROOT / "recipes/quickstart.yaml"), "--out", str(out), *settings]


def hashes(run: Path) -> dict[str, str]:
    names = ("model.json", "weights.safetensors", "model.onnx", "model.int8.onnx")
    found = (path for path in sorted(run.rglob("*")) if path.name in names)
    return {str(path.relative_to(run)): sha256_file(path) for path in found}


def killed_run(out: Path, quick: bool, kills: int, length: float, seed: int) -> list[float]:
    """Starts the run again after each kill, and at the end once more; gives the moments of the kills in seconds."""
    moments = random.Random(seed)
    # Most of a start is loading libraries; a moment is drawn from what a run does after that.
    times = []
    for _ in range(kills):
        process = subprocess.Popen(command(out, quick), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        moment = moments.uniform(0.1, 0.45) * length
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        times.append(round(moment, 2))
        done = sorted(path.name for path in (out / "stages").glob("[0-9]*")) if (out / "stages").exists() else []
        print(f"killed after {moment:.1f} s, finished stages: {len(done)}", file=sys.stderr)
    subprocess.run(command(out, quick), check=True, stdout=subprocess.DEVNULL)
    return times


def main() -> None:
    arguments = options(__doc__)
    kills = 3 if arguments.quick else 10
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        subprocess.run(command(Path(folder) / "whole", arguments.quick), check=True, stdout=subprocess.DEVNULL)
        length = time.monotonic() - started
        moments = killed_run(Path(folder) / "killed", arguments.quick, kills, length, seed=0)
        whole, killed = hashes(Path(folder) / "whole"), hashes(Path(folder) / "killed")
    same = sum(killed.get(name) == digest for name, digest in whole.items())
    figures = {"seconds_of_a_whole_run": length, "killed_after_seconds": moments, "whole": whole, "killed": killed}
    goals = [
        goal("files with the same sha256, of those of a run never killed", len(whole), same),
        goal("files too many", 0, len(killed.keys() - whole.keys()), at_most=True),
    ]
    finish(arguments, figures, goals)


if __name__ == "__main__":
    main()
