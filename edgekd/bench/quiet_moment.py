"""Measurements for a decision: repeated until other processes rest, and refused where they do not."""

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from edgekd.bench.interleaved import InterleavedRuns, InterleavedTimes
from edgekd.bench.plan import Plan
from edgekd.bench.records import LatencyRecord
from edgekd.bench.validity import INVALIDATING, OTHERS_TOOK_TIME
from edgekd.errors import DisturbedError
from edgekd.log import get_logger

logger = get_logger(__name__)

Records = Mapping[str, LatencyRecord]
T = TypeVar("T")

# For how long a measurement is begun again where others take the processors, and the pause before it is.
PATIENCE_S = 60.0
PAUSE_S = 5.0


def when_quiet(measure: Callable[[Plan], dict[str, LatencyRecord]], plan: Plan) -> dict[str, LatencyRecord]:
    """Measure ``plan``, again while others leave no cost to be told, for a minute; return the last records."""
    return repeated(lambda: measure(plan), lambda found: OTHERS_TOOK_TIME in reasons(found))


def interleave_when_quiet(
    interleave: Callable[[InterleavedRuns], InterleavedTimes], runs: InterleavedRuns
) -> InterleavedTimes:
    """Run ``runs``, again while others took part of every inference of some model, for a minute; return the last times.

    Raises:
        DisturbedError: some model still has no inference whose cost can be told.
    """
    found = repeated(lambda: interleave(runs), lambda times: not all_known(times, runs))
    if not all_known(found, runs):
        raise DisturbedError(
            "others took processor time from every inference: stop them, measure on 1 thread, where their part can be "
            "told apart, or run it again when they rest"
        )
    return found


def all_known(times: InterleavedTimes, runs: InterleavedRuns) -> bool:
    return all(bool(times.known(name, runs).any()) for name in dict.fromkeys(runs.order))


def repeated(measure: Callable[[], T], is_disturbed: Callable[[T], bool]) -> T:
    found, said = measure(), False
    # The first measurement may have waited for others that time, and taken long itself.
    started = time.monotonic()
    while is_disturbed(found) and time.monotonic() - started + PAUSE_S < PATIENCE_S:
        if not said:
            logger.info(f"  others take the processors: measuring again until they rest, for {PATIENCE_S:g} s at most")
            said = True
        time.sleep(PAUSE_S)
        found = measure()
    return found


def reasons(records: Records) -> dict[str, str]:
    """Return why some record is not valid: messages by their codes."""
    return {
        warning.code: warning.message
        for record in records.values()
        for warning in record.warnings
        if warning.code in INVALIDATING
    }


def must_tell(records: Records, choice: str) -> None:
    """Check that ``choice`` can go by the ratios of ``records``; warn in the log of those that are not valid otherwise.

    Raises:
        DisturbedError: others took so much of the processors that costs cannot be told.
    """
    found = reasons(records)
    if taken := found.pop(OTHERS_TOOK_TIME, None):
        raise DisturbedError(f"{choice} cannot be measured: {taken}")
    for message in found.values():
        logger.warning(f"{choice} goes by times that are not valid: {message}")
