"""The verdicts of the comparison of ratios under load, on made-up comparisons."""

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


def test_the_quiet_ratio_reaches_over_all_readings_of_it(cells):
    truth = cells.truth_of([reading(2.0, 1.9, 2.1), reading(8.0, 7.0, 9.0)])
    assert truth["ratio"] == pytest.approx(4)
    assert truth["ci95"] == [1.9, 9.0]
    assert truth["moved"]
    assert not cells.truth_of([reading(2.0, 1.9, 2.1), reading(2.1, 2.1, 2.2)])["moved"]


def test_a_comparison_holds_the_quiet_ratio_or_says_that_it_is_invalid(cells):
    cell, truth = cells.Cell("busy-2", "1:3", 1, "here"), cells.truth_of([reading(3.0, 2.9, 3.1)])
    refused = {"refused": "why", "valid": False, "seconds": 2.0}
    missed, met = compared(4.0, 3.5, 4.5), compared(3.2, 3.08, 3.3)
    found = cells.summary(cell, [met, missed, compared(9.0, 8.0, 9.5, valid=False), refused], truth)
    assert (found["n"], found["held"], found["invalid"], found["refused"]) == (4, 1, 2, 1)
    assert (found["share"], found["invalid_share"], found["held_at_centre"]) == (0.75, 0.5, 0)
    assert found["median_error"] == pytest.approx((0.2 / 3 + 1 / 3) / 2)
    assert (found["wall_share"], found["median_taken"]) == (0, 0.5)
    assert found["wall_median_error"] == pytest.approx(7 / 3)


def test_goals_are_of_the_worst_cell_with_enough_comparisons(cells, monkeypatch):
    monkeypatch.setattr(cells, "usable_cpus", lambda: [0, 1])
    truth = cells.truth_of([reading(3.0, 2.9, 3.1)])
    right, invalid, wrong = (compared(3.0, 2.9, 3.1), compared(3.0, 2.9, 3.1, valid=False), compared(4.0, 3.9, 4.1))
    found = [
        cells.summary(cells.Cell("busy-2", "1:3", 1, "here"), [right] * 18 + [invalid] * 2, truth),
        cells.summary(cells.Cell("busy-8", "1:3", 1, "here"), [right] * 10 + [invalid] * 6 + [wrong] * 4, truth),
        cells.summary(cells.Cell("busy-1", "1:3", 1, "here"), [wrong] * 5, truth),
    ]
    values = {each["name"]: (each["value"], each["met"]) for each in cells.goals(found, [truth], None)}
    assert values == {
        "quiet ratios that others left measurable": (1, True),
        "here: least share of a cell that holds the quiet ratio or is invalid": (0.8, False),
        "here: largest invalid share with up to one busy process per core": (0.1, True),
    }


def test_cells_are_named_by_patterns(cells):
    assert [cell.name for cell in cells.cells(["busy-[24]/1:15/1/ssh"])] == ["busy-2/1:15/1/ssh", "busy-4/1:15/1/ssh"]
    assert len(cells.cells(["*"])) == 6 * 3 * 2 * 2 + 1
