"""Measurements that go on until others rest, on made-up records."""

import time

import numpy as np
import pytest

from edgekd.bench import quiet_moment
from edgekd.bench.interleaved import InterleavedRuns, InterleavedTimes
from edgekd.bench.plan import Plan, Workload
from edgekd.bench.quiet_moment import interleave_when_quiet, must_tell, when_quiet
from edgekd.bench.records import LatencyRecord, LatencySummary, MeasurementWarning
from edgekd.errors import DisturbedError

PLAN = Plan({"file": Workload("file.onnx")})
RUNS = InterleavedRuns({}, ("small", "large", "large"), (), 1, 0, 2, 2)


def record(*codes: str) -> LatencyRecord:
    warnings = tuple(MeasurementWarning(code, f"of {code}") for code in codes)
    return LatencyRecord(LatencySummary(1.0, 1.0, 1, 1.0), None, None, 1, 1, [], [], warnings=warnings)


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet_moment, "PAUSE_S", 0.001)


def test_a_quiet_moment_is_waited_for_and_that_is_logged_once(capsys: pytest.CaptureFixture[str]) -> None:
    coming = [record("others_took_time"), record("others_took_time", "throttled"), record("throttled")]
    found = when_quiet(lambda plan: {"file": coming.pop(0)}, PLAN)
    assert (found["file"].warnings, coming) == (record("throttled").warnings, [])
    assert (
        capsys.readouterr().err == "  others take the processors: measuring again until they rest, for 60 s at most\n"
    )


def test_patience_begins_with_the_first_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which may have taken longer than that, and waited for the lock before."""
    monkeypatch.setattr(quiet_moment, "PATIENCE_S", 0.05)
    coming = [record("others_took_time"), record()]

    def measured(plan: Plan) -> dict[str, LatencyRecord]:
        time.sleep(0.1)
        return {"file": coming.pop(0)}

    assert when_quiet(measured, PLAN)["file"].valid
    assert coming == []


def test_without_a_quiet_moment_the_last_records_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet_moment, "PATIENCE_S", 0.02)
    found = when_quiet(lambda plan: {"file": record("others_took_time")}, PLAN)
    with pytest.raises(DisturbedError, match="the placement cannot be measured: of others_took_time"):
        must_tell(found, "the placement")


def test_a_choice_by_times_that_are_not_valid_otherwise_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    must_tell({"file": record("too_few_cpus", "busy_neighbour")}, "the placement")
    said = "warning: the placement goes by times that are not valid: of too_few_cpus\n"
    assert capsys.readouterr().err == said


def times(*rows: tuple[float, float, float]) -> InterleavedTimes:
    return InterleavedTimes(np.array(rows), {})


def test_every_model_needs_an_inference_whose_cost_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    nan = float("nan")
    enough = times((nan, nan, 3.0), (1.0, 2.0, nan))
    assert enough.known("large", RUNS).tolist() == [False, True, True, False]
    assert enough.known("small", RUNS).tolist() == [False, True]
    coming = [times((1.0, nan, nan)), enough]
    assert interleave_when_quiet(lambda runs: coming.pop(0), RUNS) is enough
    monkeypatch.setattr(quiet_moment, "PATIENCE_S", 0)
    with pytest.raises(DisturbedError, match="from every inference: stop them, measure on 1 thread"):
        interleave_when_quiet(lambda runs: times((nan, 1.0, 1.0)), RUNS)
