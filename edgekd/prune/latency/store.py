"""Times of layers on a machine, kept in the user's cache folder."""

from contextlib import suppress
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from edgekd.errors import EdgekdError, StorageError
from edgekd.files import canonical_json, is_file, locked, read_object, sha256, write_json
from edgekd.user_cache import cache_folder

VERSION = 1


@dataclass
class ReadingStore:
    """One file for a ``machine``, its packages, the threads and the precision.

    All are multiples of the reference layer's time, which is kept in milliseconds as it is at the machine's best.
    """

    precision: str
    machine: dict[str, Any]
    multiples: dict[str, float] = field(default_factory=dict)
    reference_ms: float | None = None
    overhead: float | None = None
    """Of the profiler on each kernel, in the multiples too."""
    fresh: bool = False
    """What the file holds is not looked at, and is gone when it is written."""

    def __post_init__(self) -> None:
        key = sha256(canonical_json([VERSION, self.precision, self.machine]))
        self.path = cache_folder() / f"latency-{key[:16]}.json"
        self.load()

    def load(self) -> None:
        """Adds what is in the file; nothing where it is missing or damaged: that is measured again."""
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
        self.multiples = {**multiples, **self.multiples}
        self.reference_ms = min(reference_ms, self.reference_ms or reference_ms)

    def save(self) -> None:
        # A home that cannot be written to costs the measurement each time, nothing else.
        with suppress(StorageError), locked(self.path, "the table of layer times"):
            self.load()  # what another process measured meanwhile
            document = {
                "machine": self.machine,
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
