"""Seconds of an epoch beside busy processes: with a thread for each processor, and with the threads that a run takes.

python benchmarks/train_neighbours.py --json benchmarks/results/train_neighbours.json

ResNet-20 on handwritten digits. Every training is a process of its own. Both ways take turns beside no busy process,
one for each processor, and two for each. A training that takes too long is stopped, and the epoch that it was at then
counts as long as it had taken.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

from common import finish, goal, options, say

from edgekd.agent.cpus import usable_cpus
from edgekd.pipes import Lines, SlowError
from edgekd.stats.percentiles import percentile, percentile_interval

TRAINS = "--trains"
ALL, FITTING = "all", "fitting"
LIMIT_S = 25.0


def train(epochs: int, samples: int) -> None:
    """The child: takes the threads that a run takes and trains; prints a line of JSON after each step of that."""
    import torch

    from edgekd.artifact import tensors_of
    from edgekd.data import load_data
    from edgekd.files import sha256
    from edgekd.models import build
    from edgekd.pipeline.log import RunLog
    from edgekd.pipeline.threads import hold_threads
    from edgekd.recipe import Data, Train
    from edgekd.train import CrossEntropy, FitOptions, fit

    data = load_data(Data(source="digits", image_size=16, grayscale=True, train_limit=samples, batch_size=64))
    torch.manual_seed(0)
    network = build("resnet20", data.input_shape, 10, width=16)
    print(json.dumps("ready"), flush=True)
    # Busy processes begin now.
    sys.stdin.readline()
    with tempfile.TemporaryDirectory() as folder:
        hold_threads(RunLog(Path(folder) / "log.jsonl"))
    print(json.dumps(torch.get_num_threads()), flush=True)
    fit(network, data, Train(epochs=epochs, lr=0.05), CrossEntropy(), FitOptions(log=lambda _: print("1", flush=True)))
    tensors = b"".join(tensor.detach().float().numpy().tobytes() for _, tensor in sorted(tensors_of(network).items()))
    print(json.dumps(sha256(tensors)), flush=True)


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def training(way: str, busy: int, epochs: int, samples: int) -> dict[str, Any]:
    """Seconds of each epoch of one training; the last one is cut short unless the training is complete."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    # Nothing else of edgekd is to be waited for: busy processes are what is measured.
    environment |= {"EDGEKD_MACHINE_LOCK": "off"}
    if way == ALL:
        environment["OMP_NUM_THREADS"] = str(len(usable_cpus()))
    process = subprocess.Popen(
        [sys.executable, __file__, TRAINS, str(epochs), str(samples)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, bufsize=0,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    process.stdout.readline()
    with busy_processes(busy):
        process.stdin.write(b"\n")
        threads, moments = json.loads(process.stdout.readline()), [monotonic()]
        found = read_until(process, moments, moments[0] + LIMIT_S)
    seconds = [end - start for start, end in pairwise(moments)]
    return {"way": way, "busy": busy, "threads": threads, "seconds": seconds, "sha256": found, "complete": bool(found)}


def read_until(process: "subprocess.Popen[bytes]", moments: list[float], end: float) -> str | None:
    """Add the moment of each epoch's end, and return the digest of the weights, or None at the time limit."""
    assert process.stdout is not None
    lines, found = Lines(process.stdout), None
    try:
        while (line := lines.next(end)) is not None:
            if line.strip() == b"1":
                moments.append(monotonic())
            else:
                found = json.loads(line)
    except SlowError:
        moments.append(monotonic())
    process.kill()
    process.communicate()
    return found


def epochs_of(trainings: Sequence[dict[str, Any]], way: str, busy: int) -> list[float]:
    found = []
    for each in trainings:
        if (each["way"], each["busy"]) == (way, busy):
            *whole, last = each["seconds"]
            # The first epoch of a process pays for oneDNN's kernels. One that was cut short counts if it is long.
            whole += [last] if each["complete"] or last > max(whole, default=0.0) else []
            found += whole[1:] or whole
    return found


def median(trainings: Sequence[dict[str, Any]], way: str, busy: int) -> float:
    return percentile(epochs_of(trainings, way, busy), 0.5)


def main() -> None:
    if sys.argv[1:2] == [TRAINS]:
        train(*map(int, sys.argv[2:4]))
        return
    arguments = options(__doc__)
    repeats, epochs, samples = (1, 3, 256) if arguments.quick else (3, 6, 640)
    processors = len(usable_cpus())
    loads = (0, processors, 2 * processors)
    trainings = []
    for _ in range(repeats):
        for busy in loads:
            for way in (ALL, FITTING):
                trainings.append(training(way, busy, epochs, samples))
                say(json.dumps({name: value for name, value in trainings[-1].items() if name != "sha256"}))
    cases = [
        {
            "way": way,
            "busy": busy,
            "seconds_per_epoch": median(trainings, way, busy),
            "interval": percentile_interval(epochs_of(trainings, way, busy), 0.5),
            "times_as_long": median(trainings, way, busy) / median(trainings, ALL, 0),
        }
        for way in (ALL, FITTING)
        for busy in loads
    ]
    digests = {(each["threads"], each["sha256"]) for each in trainings if each["complete"]}
    goals = [
        goal(
            "an epoch beside one busy process per processor, over one on a quiet machine with all threads",
            3,
            median(trainings, FITTING, processors) / median(trainings, ALL, 0),
            at_most=True,
        ),
        goal(
            "an epoch on a quiet machine, over the same with all threads",
            1.02,
            median(trainings, FITTING, 0) / median(trainings, ALL, 0),
            at_most=True,
        ),
        goal(
            "different weights of trainings with equally many threads",
            0,
            len(digests) - len({threads for threads, _ in digests}),
            at_most=True,
        ),
    ]
    finish(arguments, {"processors": processors, "limit_s": LIMIT_S, "trainings": trainings, "cases": cases}, goals)


if __name__ == "__main__":
    main()
