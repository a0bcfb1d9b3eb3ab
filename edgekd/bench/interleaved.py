"""Interleaved inferences of several files in one process, some with their kernels' times recorded, as plain data."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.bench.profile.trace import Trace
from edgekd.runtime import DEFAULT


@dataclass(frozen=True)
class InterleavedRuns:
    """Inferences at batch 1 to run in turns: ``order`` is one turn, by the names of ``models``.

    ``runtime`` records the kernels of the models in ``recorded``. After ``warmup`` turns they count, until ``seconds``
    are over, but ``least`` to ``most`` of them. ``optimised`` says for some models where their optimised graph goes.
    """

    models: Mapping[str, Path]
    order: Sequence[str]
    recorded: Collection[str]
    threads: int
    warmup: int
    least: int
    most: int
    seconds: float = 0.0
    optimised: Mapping[str, Path] = field(default_factory=dict)
    runtime: str = DEFAULT

    def to_json(self) -> dict[str, Any]:
        """Return the request as JSON, without paths of this machine."""
        return {
            **{"order": list(self.order), "recorded": sorted(self.recorded), "threads": self.threads},
            **{"optimised": sorted(self.optimised)},
            **{"warmup": self.warmup, "least": self.least, "most": self.most, "seconds": self.seconds},
        }


@dataclass(frozen=True)
class InterleavedTimes:
    """``times_ns`` (counted turns, inferences in a turn), and the traces of recorded models in all turns."""

    times_ns: NDArray[np.int64]
    traces: Mapping[str, Trace]

    def runs(self, name: str, turns: InterleavedRuns) -> int:
        """Return the number of counted inferences of ``name``."""
        return len(self.times_ns) * list(turns.order).count(name)
