"""Time a student's training step in images per second: by precision, layout and batch, and compiled.

    python benchmarks/student_step.py --json benchmarks/results/student_step.json

ResNet-20 on images of 32x32 pixels, forward, backward and SGD, without a teacher. All ways take their turns in one
process. edgekd trains in the layout and the precision that :mod:`edgekd.train.device` chooses; compiled is the same
under ``torch.compile``, which needs a C++ compiler. The share of the matrix rate is what a step's products in float32
would take at the rate of a large matrix product, over what it takes.
"""

import os
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from common import finish, goal, options, say
from distill_profile import product_rate
from rich.console import Console
from rich.table import Table
from torch import nn

from edgekd.agent.blocks import TimedBlock
from edgekd.bench import interleave, ratio_to, summarise
from edgekd.models import build, count_macs
from edgekd.train.device import has_fast_bf16, laid_out, lay_out, trains_channels_last

CPU = torch.device("cpu")
SHAPE, CLASSES, STUDENT = (3, 32, 32), 10, "resnet20"
BATCH, BATCHES, THREADS = 64, (16, 32, 128, 256), 2
# Forward, and backward by the weights and by the inputs.
PASSES = 3
# So many times as many images another way may give before it should be the usual one.
ALIKE = 1.05


@dataclass(frozen=True)
class Way:
    """One way to train."""

    bfloat16: bool
    channels_last: bool
    compiled: bool = False
    batch: int = BATCH

    @property
    def name(self) -> str:
        words = ["bfloat16" if self.bfloat16 else "float32", f"channels {'last' if self.channels_last else 'first'}"]
        if self.compiled:
            words.append("compiled")
        return ", ".join([*words, f"batch {self.batch}"])

    def step(self, network: nn.Module) -> Callable[[], None]:
        """Return a step of ``network`` on images of noise."""
        student = lay_out(network.train(), self.channels_last)
        called = torch.compile(student) if self.compiled else student
        inputs = laid_out(torch.randn(self.batch, *SHAPE), CPU, self.channels_last)
        labels = torch.randint(CLASSES, (self.batch,))
        optimizer = torch.optim.SGD(student.parameters(), 0.01, momentum=0.9, nesterov=True)

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
                outputs = called(inputs)
            optimizer.zero_grad()
            F.cross_entropy(outputs.float(), labels).backward()
            optimizer.step()

        return step


def main() -> None:
    arguments = options(__doc__)
    with TemporaryDirectory() as folder:
        # What an earlier run compiled would be found there, and its time not be seen.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        compare(arguments)


def compare(arguments: Namespace) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    usual = Way(has_fast_bf16(), trains_channels_last(build(STUDENT, SHAPE, CLASSES), CPU))
    batches = BATCHES[:1] if arguments.quick else BATCHES
    steps: dict[Way, Callable[[], None]] = {}
    compilation = {}
    for way in ways(usual, batches):
        steps[way] = way.step(build(STUDENT, SHAPE, CLASSES))
        started = time.monotonic()
        # A compiled network is compiled at its first step.
        steps[way]()
        if way.compiled:
            compilation[way.name] = time.monotonic() - started
            say(f"{way.name}: compiled in {compilation[way.name]:.0f} s")
    rate = product_rate()
    timed = interleave({way.name: step for way, step in steps.items()}, seconds=0.5 if arguments.quick else 6.0)
    macs = PASSES * count_macs(build(STUDENT, SHAPE, CLASSES), SHAPE)
    found: dict[str, dict[str, Any]] = {}
    for way in steps:
        seconds = summarise(timed[way.name]).p50 / 1000 / way.batch
        found[way.name] = {"images_per_second": 1 / seconds, "of_matrix_rate": 2e-9 * macs / rate / seconds}
        times, interval = times_of(way, usual, timed)
        found[way.name] |= {"times_the_usual": times, "ci95": interval}
    show(found)
    figures = {"usual": usual.name, "threads": THREADS, "gflops": rate, "compilation": compilation, "ways": found}
    best = max(found[way.name]["times_the_usual"] for way in steps if way.batch == usual.batch)
    finish(
        arguments, figures, [goal("the fastest way at this batch: times the usual's images", ALIKE, best, at_most=True)]
    )


def ways(usual: Way, batches: tuple[int, ...]) -> list[Way]:
    """Return each precision that runs natively in each layout, compiled and not, then the usual one by batches."""
    precisions = (False, True) if usual.bfloat16 else (False,)
    found = [
        Way(precision, last, compiled)
        for precision in precisions
        for last in (False, True)
        for compiled in (False, True)
    ]
    return [*found, *(Way(usual.bfloat16, usual.channels_last, batch=batch) for batch in batches)]


def times_of(way: Way, usual: Way, timed: Mapping[str, Sequence[TimedBlock]]) -> tuple[float, list[float]]:
    """Return its images per second over the usual way's, with the 95 % interval."""
    images, ratio = way.batch / usual.batch, ratio_to(timed[way.name], timed[usual.name])
    low, high = ratio.ci95 or (ratio.ratio, ratio.ratio)
    return images / ratio.ratio, [images / high, images / low]


def show(found: dict[str, dict[str, Any]]) -> None:
    table = Table("Way", "Images/s", "Of the matrix rate", "Times the usual")
    for name, row in found.items():
        low, high = row["ci95"]
        times = f"{row['times_the_usual']:.2f} ({low:.2f}–{high:.2f})"
        table.add_row(name, f"{row['images_per_second']:.0f}", f"{row['of_matrix_rate']:.0%}", times)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
