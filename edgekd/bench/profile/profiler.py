"""A layer profile taken in a fresh process on this machine, compared with the machine's roofline."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekd.agent.cpus import Neighbours
from edgekd.bench.environment import Environment, fingerprint, share_of
from edgekd.bench.local_agent import ask_once
from edgekd.bench.plan import Workload
from edgekd.bench.profile.cache import cached_roofs
from edgekd.bench.profile.layers import LayerProfile
from edgekd.bench.profile.roofline import LayerLimit, RooflineSummary, layer_limits, summary
from edgekd.bench.profile.roofs import Roofs, measure_roofs
from edgekd.errors import MeasurementError
from edgekd.log import get_logger
from edgekd.machine_lock import timing
from edgekd.runtime import by_session

logger = get_logger(__name__)

TIMEOUT_S = 600


@dataclass(frozen=True)
class ProfileUnderRoofs:
    """The layers of ``workload`` in running order, their limits under the machine's ``roofs``, and their summary."""

    workload: Workload
    threads: int
    batch: int
    runs: int
    environment: Environment
    roofs: Roofs
    summary: RooflineSummary
    layers: tuple[LayerLimit, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "environment": self.environment.to_json(),
            **{"model": self.workload.model, "runtime": self.workload.runtime},
            **{"threads": self.threads, "batch": self.batch, "runs": self.runs},
            **({"sizes": dict(self.workload.sizes)} if self.workload.sizes else {}),
            "roofs": self.roofs.to_json(),
            "summary": self.summary.to_json(),
            "layers": [{**each.to_json(), "of_total": each.layer.ms / self.summary.layers_ms} for each in self.layers],
        }


def machine_roofs(threads: int, fresh: bool = False) -> Roofs:
    """Return what this machine can compute and move at best, as kept, or measured where it is not or if ``fresh``."""
    return cached_roofs(threads, measure_in_child, fresh)


def profile_against_roofline(
    workload: Workload,
    threads: int = 1,
    batch: int = 1,
    runs: int = 50,
    trace: Path | None = None,
    roofs_of: Callable[[int], Roofs] = machine_roofs,
) -> ProfileUnderRoofs:
    """Profile ``workload`` and compare each layer with what this machine can compute and move at best.

    Args:
        trace: where a Chrome trace goes.
        roofs_of: gives the machine's roofs for a number of threads. Those that others disturbed are not kept, so that
            who profiles several workloads asks once, with ``functools.cache(machine_roofs)``.
    """
    if workload.device != "cpu":
        raise MeasurementError(f"there is no roofline for {workload.device} yet; profile on the CPU")
    arguments = {"workload": workload.to_json(), "threads": threads, "batch": batch, "runs": runs}
    arguments["trace_to"] = str(trace.resolve()) if trace else None
    found = LayerProfile.from_json(in_child(profile_in_child, arguments, workload.model, "the profile", threads))
    roofs = roofs_of(threads)
    limits = layer_limits(found, roofs)
    whole = summary(found, limits)
    return ProfileUnderRoofs(workload, threads, batch, found.runs, fingerprint(), roofs, whole, tuple(limits))


def measure_in_child(threads: int) -> Roofs:
    logger.info("measuring what this machine can do, which is kept if no other program disturbs it; some seconds")
    activity = "the measurement of what this machine can do"
    return Roofs.from_json(in_child(roofs_in_child, {"threads": threads}, "this machine", activity, threads))


def in_child(function: Callable[..., Any], arguments: Mapping[str, Any], name: str, activity: str, threads: int) -> Any:
    """Call ``function`` of this module in a fresh process, pinned to as many CPUs as ``threads``."""
    call = {"function": f"{function.__module__}:{function.__name__}", "arguments": arguments}
    with timing():
        return ask_once("call", call, name, activity, threads=threads, timeout_s=TIMEOUT_S)


def profile_in_child(workload: dict[str, Any], threads: int, batch: int, runs: int, trace_to: str | None) -> Any:
    trace = Path(trace_to) if trace_to else None
    return profile_workload(Workload.from_json(workload), threads, batch, runs, trace).to_json()


def roofs_in_child(threads: int) -> Any:
    return measure_roofs(threads).to_json()


def profile_workload(
    workload: Workload, threads: int, batch: int, runs: int, trace_to: Path | None = None
) -> LayerProfile:
    """Profile ``workload`` in its runtime: the median time of each layer over ``runs`` inferences."""
    if runs < 1:
        raise MeasurementError(f"{runs} runs are nothing to take a median of; give --runs 1 or more")
    profile = by_session(workload.runtime).part("profile").profile
    neighbours = Neighbours()
    found: LayerProfile = profile(workload, threads, batch, runs, trace_to)
    return replace(found, busy=share_of(neighbours.taken()))
