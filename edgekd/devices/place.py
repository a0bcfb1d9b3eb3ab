"""Where a plan is carried out: on this machine, or on a device of the book. Both are used in a ``with`` block."""

from types import TracebackType
from typing import Any

from edgekd.bench import LatencyRecord, Plan, fingerprint, measure
from edgekd.bench import memory as peak_memory
from edgekd.bench.conduct import Shown
from edgekd.devices.book import LOCAL, Device, find_device
from edgekd.devices.latency import measure_there
from edgekd.devices.probe import probed
from edgekd.devices.remote import Remote


class Here:
    """This machine, its CPU or its GPU: subjects say which."""

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None: ...

    def environment(self) -> dict[str, Any]:
        return fingerprint()

    def latency(self, plan: Plan, timeout_s: float | None = None, shown: Shown = iter) -> dict[str, LatencyRecord]:
        return measure(plan, timeout_s, shown)

    def memory(self, plan: Plan) -> dict[str, dict[str, Any]]:
        """Peak memory of each subject, as :func:`edgekd.bench.memory` has it."""
        subjects = plan.subjects.items()
        return {name: peak_memory(subject, plan.threads, plan.batch).to_json() for name, subject in subjects}


class There:
    """A device behind SSH, through one connection. Its peak memory is not measured."""

    def __init__(self, device: Device):
        self.remote = Remote(device)

    def __enter__(self) -> "There":
        self.remote.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.remote.__exit__(kind, error, trace)

    def environment(self) -> dict[str, Any]:
        """What the device says of itself, with the processor where :func:`edgekd.bench.fingerprint` has it."""
        found = probed(self.remote).to_json()
        facts = found["facts"]
        mode = {"power_mode": found["power_mode"]} if "power_mode" in found else {}
        return {"cpu": {"model": facts["cpu"], "architecture": facts["architecture"]}, **mode, "device": found}

    def latency(self, plan: Plan, timeout_s: float | None = None, shown: Shown = iter) -> dict[str, LatencyRecord]:
        """``shown`` sees nothing: sittings come with the records."""
        return measure_there(self.remote, plan, timeout_s)

    def memory(self, plan: Plan) -> dict[str, dict[str, Any]]:
        return {name: {} for name in plan.subjects}


def place_of(name: str) -> Here | There:
    """``cpu`` and ``cuda`` are this machine's own; every other name is looked up in the book.

    Raises:
        DeviceError: no device is called that.
    """
    return Here() if name in LOCAL else There(find_device(name))
