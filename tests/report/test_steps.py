from typing import Any

import pytest
from scipy.stats import binomtest

from edgekd.report.deployed import deployed, network_rows
from edgekd.report.schema import Report
from edgekd.report.steps import steps


def test_the_chain_is_followed_where_its_last_network_runs(sample: dict[str, Any]) -> None:
    report = Report.from_json(sample)
    assert [row.model for row in network_rows(report)] == ["teacher", "distilled", "pruned", "quantized"]
    assert deployed(report) == report.rows[-1]
    assert deployed(Report(name="bare", recipe_sha256="0")) is None


def test_of_several_targets_the_first_is_followed(sample: dict[str, Any]) -> None:
    again = [row | {"threads": 4, "size_bytes": 1} for row in sample["rows"] if row["runtime"] == "onnxruntime"]
    report = Report.from_json(sample | {"rows": sample["rows"] + again})
    assert deployed(report) == Report.from_json(sample).rows[-1]


def test_each_network_is_beside_the_one_before_it(sample: dict[str, Any]) -> None:
    found = steps(Report.from_json(sample))
    assert [(step.before, step.model) for step in found] == [
        ("teacher", "distilled"), ("distilled", "pruned"), ("pruned", "quantized")
    ]  # fmt: skip
    assert (found[1].params, found[1].macs, found[1].size) == ("2.08× fewer", "2.02× fewer", "2.07× smaller")
    assert found[0].latency == "6.54× faster"
    assert found[1].latency == "1.56× faster"
    assert (found[2].params, found[2].size, found[2].latency) == ("the same", "3.33× smaller", "1.37× faster")


def test_accuracy_is_compared_in_pairs(sample: dict[str, Any]) -> None:
    (step, *_) = steps(Report.from_json(sample))
    # 33 of 1500 were wrong and 37 or 38 are now: the same ones and some more
    wrong = [1500 - round(1500 * accuracy) for accuracy in (0.978, 0.975)]
    lost = wrong[1] - wrong[0]
    interval = binomtest(lost, lost).proportion_ci(0.95, "exact")
    low, high = (100 * lost * (2 * share - 1) / 1500 for share in interval)
    assert high == pytest.approx(100 * lost / 1500)
    assert step.metric == f"−{100 * lost / 1500:.1f} points (−{high:.1f} to {-low:+.1f})".replace("+0.0", "0.0")


def test_without_the_answers_there_is_no_interval(sample: dict[str, Any]) -> None:
    for row in sample["rows"]:
        row.pop("right", None)
    assert steps(Report.from_json(sample))[0].metric == "−0.3 points"
