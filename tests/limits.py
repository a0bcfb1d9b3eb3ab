"""Plugin: fails a test without the mark ``slow`` that takes over five seconds of processor time, and sums up skips."""

import os
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest

SECONDS = 5.0
# A fixture that many tests share may cost what one whole chain does.
SHARED_SECONDS = 40.0
# The first test of a process that exports pays for the exporter's imports, some seconds, for all that follow.
IMPORTS = 200


def processor_seconds() -> float:
    """Of this process and of those children that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


# Seconds that `spin` takes on the processor that the limits were chosen on; a slower one may take as much longer.
SPIN = 0.2


def spin() -> float:
    started = processor_seconds()
    sum(number * number for number in range(4_000_000))
    return processor_seconds() - started


@contextmanager
def limited(item: pytest.Item, what: str, most: float) -> Iterator[None]:
    started, modules = processor_seconds(), len(sys.modules)
    yield
    spent = processor_seconds() - started
    if spent <= most or len(sys.modules) - modules >= IMPORTS or any(map(item.get_closest_marker, ("slow", "gpu"))):
        return
    allowed = most * max(1.0, spin() / SPIN)
    if spent > allowed:
        pytest.fail(
            f"{what} took {spent:.1f} s of processor time, at most {allowed:.1f} are allowed here: share what it makes "
            "through a session's fixture, make it smaller, or mark the test slow",
            pytrace=False,
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    with limited(item, "its fixtures", SHARED_SECONDS):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    with limited(item, "it", SECONDS):
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"skipped: {count} test{'s' if count > 1 else ''}: {reason}")
