"""Warnings of what a machine did while models were timed, and of what nobody saw."""

from collections.abc import Sequence

import numpy as np

from edgekd.bench.energy import others_share
from edgekd.bench.environment import BUSY_SHARE, busy_warnings, governor_warnings, share_of, throttle_warnings
from edgekd.bench.launch import Launch
from edgekd.bench.records import MeasurementWarning
from edgekd.bench.validity import OTHERS_TOOK_TIME, POWER_OF_OTHERS


def surroundings_warnings(launches: Sequence[Launch]) -> list[MeasurementWarning]:
    """Warn of what else the machine did, in all launches together: one is too short for the kernel's ticks."""
    governors = sorted({launch.governor for launch in launches if launch.governor})
    taken = np.sum([launch.taken for launch in launches], axis=0)
    share = share_of(taken) if taken.any() else None
    return [
        *(warning for each in governors for warning in governor_warnings(each)),
        *([neighbours_not_seen()] if share is None else busy_warnings(share)),
        *hidden_pool_warnings(launches, share),
        *gpu_warnings(launches),
        *throttle_warnings(sum(launch.throttle_events for launch in launches)),
        *power_warnings(launches),
    ]


def neighbours_not_seen(message: str = "what else ran meanwhile cannot be seen on this system") -> MeasurementWarning:
    return MeasurementWarning("neighbours_not_seen", message)


def hidden_pool_warnings(launches: Sequence[Launch], share: float | None) -> list[MeasurementWarning]:
    """Warn where the system does not say how long the threads of a pool waited for a processor.

    Costs then hold what others took, which is known to be little where they used a small ``share`` of the CPUs.
    """
    blocks = (block for launch in launches for rounds in launch.rounds.values() for block in rounds)
    if all(block.waited_ns is not None for block in blocks):
        return []
    if share is not None and share > BUSY_SHARE:
        message = (
            f"others kept {share:.0%} of the CPUs busy, and this system does not say what they took of several "
            "threads: stop them, or measure on 1 thread"
        )
        return [MeasurementWarning(OTHERS_TOOK_TIME, message)]
    return [neighbours_not_seen("this system does not say how long threads wait: what others took of them is in costs")]


def gpu_warnings(launches: Sequence[Launch]) -> list[MeasurementWarning]:
    """Warn of a GPU that other processes have, or may have: what they compute there is in no figure."""
    seen = [others for launch in launches for others in launch.gpu]
    if None in seen:
        return [neighbours_not_seen("what else ran on the GPU meanwhile cannot be seen on this system")]
    most = max((others for others in seen if others), default=0)
    if not most:
        return []
    have = "another process has" if most == 1 else f"{most} other processes have"
    return [neighbours_not_seen(f"{have} the GPU: what ran there meanwhile cannot be seen")]


def power_warnings(launches: Sequence[Launch]) -> list[MeasurementWarning]:
    """Warn of others that had a share of the power: an energy would be theirs too, and there is none."""
    share = others_share([launch.power for launch in launches if launch.power])
    if share <= BUSY_SHARE:
        return []
    message = f"others kept {share:.0%} of the CPUs busy while power was read: stop them to measure energy"
    return [MeasurementWarning(POWER_OF_OTHERS, message)]


def too_few_cpus(threads: int, cpus: int) -> list[MeasurementWarning]:
    """Warn of more threads than the CPUs of the machine that they are timed on."""
    if threads <= cpus:
        return []
    message = f"{threads} threads shared {cpus} CPUs: this is not their speed; lower --threads"
    return [MeasurementWarning("too_few_cpus", message)]
