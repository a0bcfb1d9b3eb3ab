"""Sessions by the name of their runtime, which is imported when it is used: only what is measured is installed."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from edgekd.bench.plan import Workload
from edgekd.errors import MeasurementError
from edgekd.registry import Registry
from edgekd.runtime import RUNTIMES as RECORDS
from edgekd.runtime import Runtime

if TYPE_CHECKING:
    from edgekd.bench.session import Session

RUNTIMES: "Registry[Callable[[], type[Session]]]" = Registry("runtime", MeasurementError)


def open_session(workload: Workload, threads: int = 1, batch: int = 1, seed: int = 0) -> "Session":
    """Load ``workload`` in its runtime, with inputs in place."""
    return RUNTIMES.find(workload.runtime)()(workload, threads, batch, seed)


def _session_of(runtime: Runtime) -> "type[Session]":
    session: type[Session] = runtime.part("session").SESSION
    return session


for _runtime in RECORDS.values():
    RUNTIMES.register(*_runtime.sessions)(partial(_session_of, _runtime))
