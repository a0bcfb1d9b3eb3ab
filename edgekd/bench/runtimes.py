"""Sessions by the name of their runtime, which is imported when it is used: only what is measured is installed."""

from edgekd.agent.session import Session, session_type
from edgekd.bench.plan import Workload
from edgekd.runtime import by_session


def session_place(runtime: str) -> str:
    """Return where the class of a runtime's sessions is, as ``package.module:Class``."""
    return f"edgekd.runtimes.{by_session(runtime).name}.session:SESSION"


def open_session(workload: Workload, threads: int = 1, batch: int = 1, seed: int = 0) -> Session:
    """Load ``workload`` in its runtime, with inputs in place."""
    return session_type(session_place(workload.runtime))(workload, threads, batch, seed)
