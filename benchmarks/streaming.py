"""Trains on a folder of a million images and samples what the processes hold in memory.

    python benchmarks/streaming.py --json benchmarks/results/streaming.json

The folder is real to the file system, scanner, readers and decoder; its files are hard links to a few hundred
noise images, since a million different ones would add nothing but disk. Memory is the proportional set size (PSS)
of the training process and its workers together, so that pages they share count once.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from common import finish, goal, options
from PIL import Image

CLASSES, ORIGINALS = 10, 400
GIB = 1 << 30

TRAIN = """
import sys, time, torch, psutil
from pathlib import Path
from edgekd.data import load_data
from edgekd.models import build
from edgekd.recipe import Data, Train
from edgekd.train import CrossEntropy, FitOptions, fit

def say(event):
    print(event, psutil.Process().memory_full_info().pss, time.monotonic(), flush=True)

network = build("small_cnn", (3, 32, 32), 10, width=4)
say("start")
scale = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
folder = {"source": "folder", "path": Path(sys.argv[1]), "image_size": 32, "in_memory": False, "workers": 2}
data = load_data(Data(**folder, **scale, validation=0.001))
say("scanned")
data.fingerprint
say("fingerprint")
limit = int(sys.argv[2])
class Enough(Exception): ...
def stop(step, total):
    if step >= limit:
        raise Enough
try:
    fit(network, data, Train(epochs=1, lr=0.01), CrossEntropy(), FitOptions(before_step=stop))
except Enough:
    pass
say("trained")
"""


def make_folder(root: Path, images: int) -> None:
    random = np.random.default_rng(0)
    originals = []
    for index in range(ORIGINALS):
        path = root / f"{index}.jpg"
        Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
        originals.append(path)
    for part, count in (("train", images), ("test", 1000)):
        for label in range(CLASSES):
            folder = root / "set" / part / f"class{label}"
            folder.mkdir(parents=True)
            for index in range(count // CLASSES):
                os.link(originals[index % ORIGINALS], folder / f"{index:06d}.jpg")


def held(process: psutil.Process) -> int:
    total = 0
    for member in (process, *process.children(recursive=True)):
        try:
            total += member.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total


def train(folder: Path, steps: int) -> tuple[list[list[Any]], list[int]]:
    command = [sys.executable, "-c", TRAIN, str(folder / "set"), str(steps)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    samples = []
    while process.poll() is None:
        samples.append(held(psutil.Process(process.pid)))
        time.sleep(1)
    assert process.stdout is not None
    events = [line.split() for line in process.stdout.read().splitlines()]
    return [[name, int(pss), float(moment)] for name, pss, moment in events], samples


def main() -> None:
    arguments = options(__doc__)
    images, steps = (20_000, 50) if arguments.quick else (1_000_000, 2_000)
    with tempfile.TemporaryDirectory(dir=arguments.out) as name:
        make_folder(Path(name), images)
        events, samples = train(Path(name), steps)
    (_, start, began), *_, (_, _, ended) = events
    peak = max(samples)
    print(json.dumps(dict(zip((event[0] for event in events), (event[1] for event in events), strict=True))))
    figures = {
        "images": images,
        "steps": steps,
        "events": events,
        "seconds": ended - began,
        "pss_with_libraries_and_network_bytes": start,
        "pss_peak_bytes": peak,
        "pss_samples_bytes": samples,
    }
    goals = [goal("GiB beside libraries and network", 2.0, (peak - start) / GIB, at_most=True)]
    finish(arguments, figures, goals)


if __name__ == "__main__":
    main()
