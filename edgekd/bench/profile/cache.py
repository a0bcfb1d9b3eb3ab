"""The roofs of this machine, measured once and cached in the user's cache folder."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from edgekd.bench.environment import BUSY_SHARE, CpuFacts, cpu
from edgekd.bench.profile.roofs import Roofs
from edgekd.errors import EdgekdError, StorageError
from edgekd.files import canonical_json, is_file, read_object, sha256, write_json
from edgekd.runtime import DEFAULT, RUNTIMES
from edgekd.user_cache import cache_folder, made_once

SCHEMA_VERSION = 1


def cached_roofs(threads: int, measure: Callable[[int], Roofs], fresh: bool = False) -> Roofs:
    """Return the cached roofs for ``threads``, or call ``measure(threads)`` if there are none or ``fresh`` is set."""
    machine = machine_facts(threads).to_json()
    path = cache_folder() / f"roofs-{sha256(canonical_json(machine))[:16]}.json"
    if not fresh and (known := read(path)):
        return known
    with made_once(path, "the roofs of this machine"):
        if not fresh and (known := read(path)):
            return known
        roofs = measure(threads)
        if roofs.busy > BUSY_SHARE:
            return roofs  # too low, and not to be kept
        with suppress(StorageError):  # a home that cannot be written to costs some seconds each time, nothing else
            write_json(path, {"machine": machine, "roofs": roofs.to_json()})
        return roofs


def read(path: Path) -> Roofs | None:
    """Return the cached roofs, or None if the file is missing or damaged: they are then measured again."""
    try:
        return Roofs.from_json(read_object(path, "it is made again")["roofs"]) if is_file(path) else None
    except (EdgekdError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None


@dataclass(frozen=True)
class MachineFacts:
    """Facts that times on this machine depend on; ``runtime`` is the version of the one that measures the roofs."""

    cpu: CpuFacts
    threads: int
    numpy: str
    runtime: str

    def to_json(self) -> dict[str, Any]:
        # Which CPUs are usable does not matter, only how many.
        usable = {"usable_cpus": len(self.cpu.affinity or [])}
        versions = {"numpy": self.numpy, DEFAULT: self.runtime}
        cpu = replace(self.cpu, affinity=None).to_json()
        return {**cpu, **versions, **usable, "threads": self.threads, "schema_version": SCHEMA_VERSION}


def machine_facts(threads: int) -> MachineFacts:
    """Return the facts that the roofs depend on."""
    import numpy

    runtime = import_module(RUNTIMES[DEFAULT].packages[0])
    return MachineFacts(cpu(), threads, numpy.__version__, runtime.__version__)
