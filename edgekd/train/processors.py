"""The processors that are free for a training: those that this process may use, less what others keep busy.

Threads that share processors with others wait for each other most of the time. OpenMP's wait policy does not help: the
gradients of convolutions' weights have barriers of oneDNN's own, which spin until every thread has had its turn.
"""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from edgekd.agent.cpus import Neighbours, usable_cpus
from edgekd.log import get_logger

GLANCE_S = 0.5
# With one of these the user has chosen, and so has torchrun.
CHOSEN_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
CGROUP, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")

logger = get_logger(__name__)


@dataclass(frozen=True)
class Processors:
    """The processors of this process.

    Attributes:
        usable: how many it may use, by its affinity and the quota of its container.
        busy: how many of them other processes keep busy.
    """

    usable: float
    busy: float

    def fitting(self, threads: int) -> int:
        """Return ``threads``, halved until as many processors are free; at least 1.

        Halved, since the bytes of a training depend on the number, and a little more load should not change it.
        """
        while threads > 1 and threads > self.usable - self.busy + 0.5:
            threads //= 2
        return threads


def take_fitting_threads() -> None:
    """Lower PyTorch's number of threads to the free processors, unless the environment says how many to take.

    The bytes of a training depend on the number; :func:`edgekd.run` keeps it for a run that is started again.
    """
    threads = torch.get_num_threads()
    if threads == 1 or any(name in os.environ for name in CHOSEN_BY):
        return
    found = look_around()
    fitting = found.fitting(threads)
    if fitting < threads:
        torch.set_num_threads(fitting)
        logger.info(
            f"training on {fitting} of {threads} CPU threads: others keep {found.busy:.1f} of {found.usable:g} "
            "processors busy, and threads that wait for each other would take many times as long; the weights depend "
            f"on the number, and a run keeps it (OMP_NUM_THREADS={threads}, with --fresh: all, whatever the load)"
        )


def look_around(seconds: float = GLANCE_S) -> Processors:
    """Watch for ``seconds`` how busy other processes keep the processors that this one may use, 0 without Linux."""
    cpus = usable_cpus()
    watch = Neighbours(cpus=cpus)
    time.sleep(seconds)
    _, (ticks, others) = watch.taken()
    share = min(1.0, max(0.0, others / max(1, ticks)))
    return Processors(min(float(len(cpus)), quota()), share * len(cpus))


def quota(cgroup: Path = CGROUP, groups: Path = GROUPS) -> float:
    """Return how many processors' time the control groups of this process grant it; infinity without a quota."""
    granted = float("inf")
    with suppress(OSError):
        for line in cgroup.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                granted = min(granted, *map(_second_version, _and_parents(groups, path)))
            elif "cpu" in controllers.split(","):
                granted = min(granted, *map(_first_version, _and_parents(groups / "cpu", path)))
    return granted


def _and_parents(root: Path, path: str) -> list[Path]:
    # In a container the path may be the host's, which is not there; its own group is then the root.
    below = Path(path.lstrip("/"))
    return [root / below, *(root / parent for parent in below.parents)]


def _second_version(group: Path) -> float:
    with suppress(OSError, ValueError, ZeroDivisionError):
        share, period = (group / "cpu.max").read_text().split()
        return float("inf") if share == "max" else int(share) / int(period)
    return float("inf")


def _first_version(group: Path) -> float:
    with suppress(OSError, ValueError, ZeroDivisionError):
        share, period = (int((group / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return float("inf") if share <= 0 else share / period
    return float("inf")
