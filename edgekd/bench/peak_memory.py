"""Peak memory of a model, in a process that loads and runs it and does nothing else."""

from edgekd.bench.local_agent import ask_once
from edgekd.bench.plan import Workload
from edgekd.bench.records import MemoryRecord
from edgekd.bench.runtimes import session_place
from edgekd.machine_lock import training


def memory(workload: Workload, threads: int = 1, batch: int = 1, timeout_s: float = 120) -> MemoryRecord:
    """Measure the peak memory of loading and running ``workload``, in a process of its own and apart from timing."""
    session = session_place(workload.runtime)
    arguments = {"session": session, "workload": workload.to_json(), "threads": threads, "batch": batch}
    activity = "the run for peak memory"
    # It computes as a training does, and its times are nobody's.
    with training():
        return MemoryRecord(**ask_once("memory", arguments, workload.model, activity, session, threads, timeout_s))
