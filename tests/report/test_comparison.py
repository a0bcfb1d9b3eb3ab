from typing import Any

import pytest
from scipy.stats import binomtest

from edgekd.report.comparison import differences, marks, pairs, run_rows, summary
from edgekd.report.comparison_page import render_comparison, render_comparison_markdown
from edgekd.report.pareto import fronts
from edgekd.report.schema import Report
from edgekd.stats.correct import encode_correct
from edgekd.tasks.classification import Classification

from .sample import sample

(ACCURACY,) = Classification.metrics


def changed(wrong: int, **more: Any) -> Report:
    """The sample with ``wrong`` more answers wrong than right of the last network, and other parts."""
    document = sample()
    row = document["rows"][-1]
    row["right"] = encode_correct([False] * wrong + [True] * (1500 - wrong))
    row["accuracy"] = 1 - wrong / 1500
    row["accuracy_ci95"] = [row["accuracy"] - 0.012, row["accuracy"] + 0.009]
    return Report.from_json(document | more)


@pytest.fixture
def reports() -> dict[str, Report]:
    size = {"name": "size_mb", "bound": 1, "value": 0.2, "unit": "MB", "met": True}
    return {"first": changed(42), "second": changed(72, budget={"met": True, "checks": [size]})}


def test_each_run_hands_over_its_last_network(reports: dict[str, Report]) -> None:
    first, second = run_rows(reports)
    assert (first["run"], first["model"], first["precision"]) == ("first", "quantized", "int8")
    assert (first["verdict"], second["verdict"]) == ("Budget not met: 2 of 4 checks failed", "Budget met")
    assert summary(reports) == "1 of 2 runs met their budget; the best accuracy is 97.2 %, of first."


def test_accuracies_are_compared_in_pairs_with_the_first(reports: dict[str, Report]) -> None:
    (found,) = pairs(reports)
    low = 2 * binomtest(30, 30).proportion_ci(0.95, "exact").low - 1
    assert found.to_json() == {
        "run": "second",
        "beside": "first",
        "accuracy": f"−2.0 points (−2.0 to −{100 * 30 * low / 1500:.1f})",
        "lost": 30,
        "won": 0,
    }


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"data": {**sample()["data"], "fingerprint": "0" * 64}}, "the test sets differ"),
        ({"data": None}, "does not say what was tested on"),
        ({"rows": [{k: v for k, v in row.items() if k != "right"} for row in sample()["rows"]]}, "run both again"),
    ],
)
def test_where_there_is_no_pair_it_says_why(reports: dict[str, Report], part: dict[str, Any], says: str) -> None:
    (found,) = pairs(reports | {"second": Report.from_json(sample() | part)})
    assert says in found.difference
    assert found.lost is None and "lost" not in found.to_json()


def test_the_facts_that_differ_are_named(reports: dict[str, Report]) -> None:
    assert differences(reports) == []
    elsewhere = changed(50, environment={"cpu": {"model": "another"}}, data={**sample()["data"], "test": 7})
    assert differences(reports | {"third": elsewhere}) == [
        "test samples: first: 1500; second: 1500; third: 7",
        "processor: first: Sample CPU; second: Sample CPU; third: another",
        "architecture: first: x86_64; second: x86_64; third: –",
        "processor features: first: avx512_vnni; second: avx512_vnni; third: –",
    ]


def test_times_of_two_machines_share_no_front(reports: dict[str, Report]) -> None:
    assert len(fronts(marks(reports), ACCURACY)) == 1
    elsewhere = changed(50, environment={"cpu": {"model": "another"}})
    assert len(fronts(marks(reports | {"third": elsewhere}), ACCURACY)) == 2


def test_the_page_and_the_markdown_say_the_same(reports: dict[str, Report]) -> None:
    page, text = render_comparison(reports, pairs(reports)), render_comparison_markdown(reports, pairs(reports))
    for told in ("Budget met", "97.2 % (96.0–98.1)", "−2.0 points (−2.0 to −1.5)", "13.9× (13.3–14.5)", "162 kB"):
        assert told in page.replace('<span class="whole">', "").replace("</span>", "") and told in text
    assert page.count("<svg ") == 2
    assert '"Accuracy against the median time of an inference' in page


def test_hostile_names_stay_text(reports: dict[str, Report]) -> None:
    hostile = "<script>alert(1)</script> | `x`"
    named = {hostile: reports["first"], "b": reports["second"]}
    page = render_comparison(named, pairs(named))
    assert "<script" not in page
    text = render_comparison_markdown(named, pairs(named))
    assert "\\<script\\>alert(1)\\</script\\> \\| \\`x\\`" in text
