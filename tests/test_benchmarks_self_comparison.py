"""The verdicts of the comparison of ratios under load, on made-up comparisons."""

import json
import math
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def cells(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import harness.cells

    return harness.cells


def reading(ratio, low, high, valid=True):
    return {"ratio": ratio, "ci95": [low, high], "valid": valid}


def compared(ratio, low, high, valid=True, wall=10.0):
    wall = {"ratio": wall, "ci95": [0.9 * wall, 1.1 * wall]}
    return {**reading(ratio, low, high, valid), "wall": wall, "taken": [0.5, 0.4], "seconds": 2.0}


def test_the_quiet_ratio_is_the_mean_of_all_readings_of_it(cells):
    truth = cells.truth_of([reading(2.0, 1.9, 2.1), reading(8.0, 7.0, 9.0)])
    assert truth["ratio"] == pytest.approx(4)
    # Of two readings, each as wide as 21/19 and 9/7: half the root of the sum of squares.
    reach = (math.log(21 / 19) ** 2 + math.log(9 / 7) ** 2) ** 0.5 / 4
    assert truth["ci95"] == pytest.approx([4 * math.exp(-reach), 4 * math.exp(reach)])
    assert truth["moved"]
    assert not cells.truth_of([reading(2.0, 1.9, 2.1), reading(2.1, 2.1, 2.2)])["moved"]


def test_a_comparison_holds_the_quiet_ratio_or_says_that_it_is_invalid(cells):
    cell, truth = cells.Cell("busy-2", "1:3", 1, "here"), cells.truths_of([reading(3.0, 2.9, 3.1)])
    failed = {"error": "why", "valid": False, "seconds": 2.0}
    missed, met = compared(4.0, 3.05, 4.5), compared(3.2, 2.98, 3.3)
    found = cells.summary(cell, [met, missed, compared(9.0, 8.0, 9.5, valid=False), failed], truth)
    assert (found["n"], found["held"], found["invalid"], found["failed"]) == (4, 1, 1, 1)
    assert (found["share"], found["invalid_share"]) == (0.5, 0.25)
    assert found["median_error"] == pytest.approx((0.2 / 3 + 1 / 3) / 2)
    assert (found["wall_held"], found["walls"], found["median_taken"]) == (0, 3, 0.5)
    assert found["wall_median_error"] == pytest.approx(7 / 3)


def test_a_comparison_is_judged_by_the_quiet_ratio_of_its_run(cells):
    """Files may be as much as 2 % faster or slower on another day; what holds on all days is told, too."""
    truths = cells.truths_of([reading(3.0, 2.9, 3.1), {**reading(4.0, 3.9, 4.1), "run": 1}])
    assert {run: each["ratio"] for run, each in truths.items()} == {0: pytest.approx(3), 1: pytest.approx(4)}
    ours = [compared(3.0, 2.9, 3.1), {**compared(4.0, 3.4, 4.1), "run": 1}, {**compared(3.0, 2.9, 3.1), "run": 1}]
    found = cells.summary(cells.Cell("busy-2", "1:3", 1, "here"), ours, truths)
    assert (found["n"], found["held"], found["held_of_all_runs"]) == (3, 2, 1)
    assert found["median_error"] == pytest.approx(0)


def test_goals_are_of_the_worst_cell_with_enough_comparisons(cells, monkeypatch):
    monkeypatch.setattr(cells, "usable_cpus", lambda: [0, 1])
    truth = cells.truths_of([reading(3.0, 2.9, 3.1)])
    right, invalid, wrong = (compared(3.0, 2.9, 3.1), compared(3.0, 2.9, 3.1, valid=False), compared(4.0, 3.9, 4.1))
    found = [
        cells.summary(cells.Cell("busy-2", "1:3", 1, "here"), [right] * 18 + [invalid] * 2, truth),
        cells.summary(cells.Cell("busy-8", "1:3", 1, "here"), [right] * 10 + [invalid] * 6 + [wrong] * 4, truth),
        cells.summary(cells.Cell("busy-1", "1:3", 1, "here"), [wrong] * 5, truth),
    ]
    values = {each["name"]: (each["value"], each["met"]) for each in cells.goals(found, list(truth.values()), None)}
    assert values == {
        "comparisons under each load": (5, False),
        "comparisons that ended in an error": (0, True),
        "quiet ratios that stayed from reading to reading": (1, True),
        "here: least share of a cell that holds the quiet ratio or is invalid": (0.8, False),
        "here: largest invalid share of a cell with up to one busy process per core": (0.1, True),
        "here: least share of a load that holds the quiet ratio or is invalid": (0.8, False),
        "here: largest invalid share of a load with up to one busy process per core": (0.1, True),
    }


def test_a_load_is_judged_over_its_pairs_and_threads(cells):
    truth = cells.truths_of([reading(3.0, 2.9, 3.1)])
    right, invalid, wrong = (compared(3.0, 2.9, 3.1), compared(3.0, 2.9, 3.1, valid=False), compared(4.0, 3.9, 4.1))
    found = [
        cells.summary(cells.Cell("busy-2", "1:3", 1, "here"), [right] * 7, truth),
        cells.summary(cells.Cell("busy-2", "1:15", 2, "here"), [right, invalid, wrong], truth),
        cells.summary(cells.Cell("busy-2", "1:15", 2, "ssh"), [wrong], truth),
        cells.summary(cells.Cell("quiet", cells.PLANTED, 1, "here"), [right], None),
    ]
    here, ssh = cells.by_load(found)
    assert (here["cells"], here["n"], here["held"], here["invalid"]) == (2, 10, 8, 1)
    assert (here["share"], here["invalid_share"], here["wall_held"], here["walls"]) == (0.9, 0.1, 0, 10)
    assert here["share_ci95"] == [pytest.approx(0.5958, abs=1e-4), pytest.approx(0.9821, abs=1e-4)]
    assert (ssh["way"], ssh["n"], ssh["share"]) == ("ssh", 1, 0)


def test_the_planted_slowdown_is_compared_as_often_as_a_load(cells):
    assert cells.Cell("busy-2", "1:3", 1, "here").comparisons(7) == 7
    assert cells.Cell("quiet", cells.PLANTED, 1, "here").comparisons(7) == 42


def test_a_run_goes_on_from_a_record_of_fewer_comparisons(cells, tmp_path, monkeypatch):
    import harness.self_comparison as script

    here = script.fingerprint().to_json()["cpu"]["model"]
    one = {"cpu": here, "settings": script.SETTINGS, "cell": "busy-2/1:3/1/here", **compared(3.0, 2.9, 3.1)}
    truth = {"cpu": here, "settings": script.LONG, "cell": ["1:3", 1], **reading(3.0, 2.9, 3.1)}
    record = {
        **{"complete": True, "each": 7, "loads": []},
        **{"quiet_ratios": {"1:3/1": [{"run": 0, "readings": [truth]}]}, "comparisons": [dict(one) for _ in range(7)]},
    }
    path = tmp_path / "record.json"
    path.write_text(json.dumps(record))
    cell = cells.Cell("busy-2", "1:3", 1, "here")
    assert script.Kept(path, 7, script.LONG).comparisons(cell) == []
    kept = script.Kept(path, 8, script.LONG)
    assert (len(kept.comparisons(cell)), kept.truths("1:3", 1)) == (7, [truth])
    # From there on it is the file of results so far that counts.
    kept.add(one)
    again = script.Kept(path, 8, script.LONG)
    assert (len(again.comparisons(cell)), kept.run, again.run) == (8, 1, 2)
    assert [each.get("run", 0) for each in again.comparisons(cell)] == [0] * 7 + [1]
    record["comparisons"][0]["cpu"] = "Another"
    path.write_text(json.dumps(record))
    (tmp_path / "record.part.jsonl").unlink()
    with pytest.raises(SystemExit, match="of another processor"):
        script.Kept(path, 8, script.LONG)


def test_cells_are_named_by_patterns(cells):
    assert [cell.name for cell in cells.cells(["busy-[24]/1:15/1/ssh"])] == ["busy-2/1:15/1/ssh", "busy-4/1:15/1/ssh"]
    assert len(cells.cells(["*"])) == 6 * 3 * 2 * 2 + 1
