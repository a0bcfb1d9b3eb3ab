"""Readings of layers on a machine, stored in the user's cache folder."""

from contextlib import suppress
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from edgekd.bench.target import Facts
from edgekd.errors import EdgekdError, StorageError
from edgekd.files import canonical_json, is_file, locked, read_object, sha256, write_json
from edgekd.runtime import DEFAULT
from edgekd.user_cache import cache_folder

VERSION = 1


@dataclass
class ReadingStore:
    """The readings of a machine, its packages, threads and precision; one file for each.

    Readings are multiples of the reference layer's, which is stored in milliseconds, the best that was measured.
    """

    precision: str
    machine: Facts
    runtime: str = DEFAULT
    multiples: dict[str, float] = field(default_factory=dict)
    reference_ms: float | None = None
    overhead: float | None = None
    """What the profiler adds to each kernel, as a multiple too."""
    fresh: bool = False
    """Ignore the file, and replace it when readings are saved."""

    def __post_init__(self) -> None:
        # Readings of earlier versions are of one runtime.
        other = [] if self.runtime == DEFAULT else [self.runtime]
        key = sha256(canonical_json([VERSION, self.precision, self.machine.to_json(), *other]))
        self.path = cache_folder() / f"latency-{key[:16]}.json"
        self.load()

    def load(self) -> None:
        """Add the file's readings; a missing or damaged file adds none."""
        if self.fresh:
            return
        try:
            document = read_object(self.path, "it is made again") if is_file(self.path) else {}
            multiples = {str(name): _number(value) for name, value in document["multiples"].items()}
            reference_ms, overhead = _number(document["reference_ms"]), _number(document["overhead"])
        except (EdgekdError, ValueError, KeyError, TypeError, AttributeError):
            return
        if self.overhead is None:
            self.overhead = overhead
        self.add(multiples, reference_ms)

    def add(self, multiples: dict[str, float], reference_ms: float) -> None:
        """Add readings that are not known yet, and keep the smaller reference time."""
        self.multiples = {**multiples, **self.multiples}
        self.reference_ms = min(reference_ms, self.reference_ms or reference_ms)

    def save(self) -> None:
        """Write the file, merged with what other processes have measured meanwhile."""
        # A home that cannot be written to only costs the measurement each time.
        with suppress(StorageError), locked(self.path, "the table of layer times"):
            self.load()
            document = {
                "machine": self.machine.to_json(),
                "precision": self.precision,
                "reference_ms": self.reference_ms,
                "overhead": self.overhead,
                "multiples": self.multiples,
            }
            write_json(self.path, document)
            self.fresh = False


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise ValueError(f"{value} is no time")
    return float(value)
