"""A profile taken on this machine, in a fresh process, and held against what the machine can do."""

from pathlib import Path
from typing import Any

from edgekd.bench.environment import fingerprint
from edgekd.bench.plan import Subject
from edgekd.bench.profile.attention import judge, summary
from edgekd.bench.profile.cache import cached_roofs
from edgekd.bench.profile.layers import LayerProfile
from edgekd.bench.profile.roofs import Roofs
from edgekd.bench.worker import ask_once
from edgekd.errors import MeasurementError
from edgekd.log import get_logger

logger = get_logger(__name__)

TIMEOUT_S = 600


def profile_on_roofs(
    subject: Subject, threads: int = 1, batch: int = 1, runs: int = 50, trace: Path | None = None, fresh: bool = False
) -> dict[str, Any]:
    """Environment, roofs, the whole, and each layer in the order it runs, as JSON.

    Each layer has its ``ms``, the ``limit_ms`` that the roofs allow, what it is ``bound`` by, and its share
    ``of_total``. ``trace`` is where a Chrome trace goes; ``fresh`` measures the machine again.
    """
    if subject.device != "cpu":
        raise MeasurementError(f"a profile on {subject.device} has no roofs to stand under yet; profile on the CPU")
    asked = {"subject": subject.to_json(), "threads": threads, "batch": batch, "runs": runs}
    asked["trace_to"] = str(trace.resolve()) if trace else None
    found = LayerProfile.from_json(ask_once("profile", asked, threads, TIMEOUT_S))
    roofs = cached_roofs(threads, measure_in_child, fresh)
    judged = judge(found, roofs)
    whole = summary(found, judged)
    layers = [{**each.to_json(), "of_total": each.layer.ms / whole["layers_ms"]} for each in judged]
    about = {"model": subject.model, "runtime": subject.runtime, "threads": threads, "batch": batch, "runs": found.runs}
    figures = {"environment": fingerprint(), "roofs": roofs.to_json(), "summary": whole, "layers": layers}
    return {"schema_version": 1, **about, **figures}


def measure_in_child(threads: int) -> Roofs:
    logger.info("measuring what this machine can do, once; some seconds")
    return Roofs.from_json(ask_once("roofs", {"threads": threads}, threads, TIMEOUT_S))
