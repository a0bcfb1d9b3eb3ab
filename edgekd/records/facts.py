"""Check what two reports must share to be compared: the test set, the decoder, the machine and the devices."""

from collections.abc import Mapping
from typing import Any

from edgekd.runtime import RUNTIMES

# By names that are open, since each device adds its own; values are compared and shown, nothing else.
Facts = Mapping[str, object]
TEST_SET = "test set"
SEPARATOR = ": "  # between a device and the name of its fact


def facts_of(report: Mapping[str, Any]) -> Facts:
    """Return the facts that two reports must share to be compared."""
    data, environment = report.get("data") or {}, report.get("environment") or {}
    cpu = environment.get("cpu") or {}
    facts = {
        TEST_SET: data.get("fingerprint"),
        "test samples": data.get("test"),
        **{f"{name} of the decoder": value for name, value in (report.get("decoder") or {}).items()},
        "processor": cpu.get("model"),
        "architecture": cpu.get("architecture"),
        "processor features": cpu.get("flags"),
        "power mode": environment.get("power_mode"),
        **_of_devices(environment.get("devices") or {}),
    }
    return {key: value for key, value in facts.items() if value is not None}


def device_of(fact: str) -> str | None:
    """Return the device that a fact is about, or None for this machine and the data."""
    device, separator, _ = fact.partition(SEPARATOR)
    return device if separator else None


def _of_devices(devices: Mapping[str, Any]) -> Facts:
    return {
        f"{name}{SEPARATOR}{what}": found
        for name, facts in devices.items()
        for what, found in (
            ("board", (facts.get("facts") or {}).get("board")),
            ("processor", (facts.get("facts") or {}).get("cpu")),
            ("power mode", facts.get("power_mode")),
            *((each.title, _release(each.name, facts)) for each in RUNTIMES.values()),
        )
    }


def _release(runtime: str, facts: Mapping[str, Any]) -> object:
    python = (facts.get("facts") or {}).get("python") or {}
    return facts.get(runtime) or python.get(runtime)
