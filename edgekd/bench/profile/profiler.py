"""A layer profile taken in a fresh process on this machine, compared with the machine's roofline."""

from pathlib import Path
from typing import Any

from edgekd.bench.environment import fingerprint
from edgekd.bench.plan import Workload
from edgekd.bench.profile.cache import cached_roofs
from edgekd.bench.profile.layers import LayerProfile
from edgekd.bench.profile.roofline import layer_limits, summary
from edgekd.bench.profile.roofs import Roofs
from edgekd.bench.worker import call_once
from edgekd.errors import MeasurementError
from edgekd.log import get_logger

logger = get_logger(__name__)

TIMEOUT_S = 600


def profile_against_roofline(
    workload: Workload, threads: int = 1, batch: int = 1, runs: int = 50, trace: Path | None = None, fresh: bool = False
) -> dict[str, Any]:
    """Profile ``workload`` and return environment, roofs, summary and each layer in running order, as JSON.

    Each layer has its ``ms``, the ``limit_ms`` that the roofs allow, what it is ``bound`` by, and its share
    ``of_total``. ``trace`` is where a Chrome trace goes; ``fresh`` measures the machine again.
    """
    if workload.device != "cpu":
        raise MeasurementError(f"there is no roofline for {workload.device} yet; profile on the CPU")
    arguments = {"workload": workload.to_json(), "threads": threads, "batch": batch, "runs": runs}
    arguments["trace_to"] = str(trace.resolve()) if trace else None
    found = LayerProfile.from_json(call_once("profile", arguments, threads, TIMEOUT_S))
    roofs = cached_roofs(threads, measure_in_child, fresh)
    limits = layer_limits(found, roofs)
    whole = summary(found, limits)
    layers = [{**each.to_json(), "of_total": each.layer.ms / whole.layers_ms} for each in limits]
    about = {"model": workload.model, "runtime": workload.runtime, "threads": threads, "batch": batch}
    measured = {"environment": fingerprint(), "roofs": roofs.to_json(), "summary": whole.to_json(), "layers": layers}
    return {"schema_version": 1, **about, "runs": found.runs, **measured}


def measure_in_child(threads: int) -> Roofs:
    logger.info("measuring what this machine can do, once; some seconds")
    return Roofs.from_json(call_once("roofs", {"threads": threads}, threads, TIMEOUT_S))
