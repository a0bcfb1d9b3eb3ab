"""Comparisons with a baseline's file: what is timed, and when it is timed again."""

from pathlib import Path

import pytest

from edgekd.bench import quiet_moment
from edgekd.bench.records import LatencyRatio, LatencyRecord, LatencySummary, MeasurementWarning
from edgekd.devices.facts import DeviceFacts
from edgekd.devices.probe import Probe
from edgekd.devices.registry import Device
from edgekd.files import sha256_file
from edgekd.pipeline import baseline_latency
from edgekd.pipeline.baseline_latency import BEFORE, NOW, ComparisonNode, comparison_plan
from edgekd.pipeline.node import NodeCache
from edgekd.recipe import Target

FACTS = {
    **{"architecture": "x86_64", "system": "Linux", "cpu": "a processor", "cores": 1, "free_disk_bytes": 1},
    "python": {"version": "3.8", "executable": "python3"},
}


def test_the_ratio_is_the_new_files_time_over_the_baselines():
    plan = comparison_plan(Path("new.onnx"), Path("baseline.onnx"), Target(device="cpu", runtime="onnxruntime"))
    assert plan.reference == BEFORE
    assert {name: workload.model for name, workload in plan.workloads.items()} == {
        BEFORE: "baseline.onnx",
        NOW: "new.onnx",
    }


class Place:
    """A test double: a target that gives one record, with warnings."""

    def __init__(self, *codes: str):
        self.codes, self.asked = codes, 0

    def __call__(self, *_: object) -> "Place":
        return self

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_: object) -> None: ...

    def latency(self, plan):
        self.asked += 1
        warnings = tuple(MeasurementWarning(code, "a warning") for code in self.codes)
        record = LatencyRecord(
            LatencySummary(1.0, 1.0, 1, 1.0),
            None,
            None,
            1,
            1,
            [],
            [],
            latency_vs_reference=None if "unclear" in self.codes else LatencyRatio(1.25),
            warnings=warnings,
        )
        return dict.fromkeys(plan.workloads, record)


@pytest.mark.parametrize(
    ("codes", "on_device", "times"),
    [
        ((), True, 1),
        (("cut_short",), True, 2),
        (("emulated",), True, 1),  # it will be that at every moment
        ((), False, 1),
        (("too_few_samples",), False, 2),
        (("others_took_time",), True, 2),
        (("too_few_samples",), True, 2),
        (("throttled",), True, 2),
        (("time_limit",), True, 2),
        (("too_few_cpus",), True, 1),
    ],
)
def test_what_another_moment_may_mend_is_timed_again(codes, on_device, times, tmp_path, monkeypatch):
    monkeypatch.setattr(quiet_moment, "PATIENCE_S", 0)
    place = Place(*codes)
    monkeypatch.setattr(baseline_latency, "RemoteTarget", place)
    monkeypatch.setattr(baseline_latency, "LocalTarget", place)
    files = [tmp_path / "new.onnx", tmp_path / "baseline.onnx"]
    for file in files:
        file.write_bytes(file.name.encode())
    target = Target(device="desk" if on_device else "cpu", runtime="onnxruntime")
    probe = Probe(Device("desk", "board"), DeviceFacts.from_json(FACTS)) if on_device else None
    for _ in range(2):
        found = NodeCache(tmp_path).make(ComparisonNode(*files, target, probe))
    assert place.asked == times
    assert (found.ratio, found.baseline_sha256) == (1.25, sha256_file(files[1]))


def test_without_a_ratio_there_is_no_comparison_and_a_further_start_measures_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quiet_moment, "PATIENCE_S", 0)
    place = Place("others_took_time", "unclear")
    monkeypatch.setattr(baseline_latency, "LocalTarget", place)
    file = tmp_path / "new.onnx"
    file.write_bytes(b"new")
    node = ComparisonNode(file, file, Target(device="cpu", runtime="onnxruntime"), None)
    assert [NodeCache(tmp_path).make(node) for _ in range(2)] == [None, None]
    assert place.asked == 2
    assert "the time against the baseline's file is not valid: a warning" in capsys.readouterr().err
