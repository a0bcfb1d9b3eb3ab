from dataclasses import replace
from typing import Any

import pytest

from edgekd.formatting import points
from edgekd.report.html import render_html
from edgekd.report.panels import curve_pictures, panel_pictures
from edgekd.report.schema import Report
from edgekd.tasks.breakdown import PanelCurves
from edgekd.tasks.classification.by_class import ByClass


def of(*classes: tuple[int, int, int]) -> dict[str, Any]:
    named = [
        {"name": f"class {number}", "n": n, "right_before": before, "right_after": after}
        for number, (n, before, after) in enumerate(classes)
    ]
    return {"before": "teacher", "after": "student", "runtime": "onnxruntime", "classes": named}


def test_few_are_all_shown_what_lost_most_first_and_empty_ones_not() -> None:
    shown = ByClass(**of((10, 9, 9), (0, 0, 0), (20, 20, 15), (10, 8, 9))).panel().table.rows
    assert [(each.name, each.change) for each, _ in shown] == [("class 2", -25), ("class 0", 0), ("class 3", 10)]


def test_of_a_thousand_the_ends_are_shown() -> None:
    many = of(*((50, 40, 40 - (number % 7) + (number % 5)) for number in range(1000)))
    shown = ByClass(**many).panel().table.rows
    changes = sorted(each["right_after"] - 40 for each in many["classes"])
    assert [each.right_after - 40 for each, _ in shown] == changes[:10] + changes[-3:]
    page = render_html(Report.from_json({"schema_version": 1, "name": "many", "recipe_sha256": "0", "by_class": many}))
    assert "Shown are those that lost most" in page
    assert page.count('<th scope="row" role="rowheader">class ') == 13


def test_without_samples_there_is_no_picture() -> None:
    assert panel_pictures(ByClass(**of((0, 0, 0))).panel()) == []


def test_both_networks_curves_are_one_picture_said_in_words() -> None:
    panel = ByClass(**of((10, 9, 9))).panel()
    assert curve_pictures(panel) == []
    places = [place / 100 for place in range(101)]
    falling = [[1 - loss * place for place in places] for loss in (0.2, 0.4)]
    curves = PanelCurves("Precision at each recall", "recall in %", "precision in %", places, *falling)
    [shown] = curve_pictures(replace(panel, curves=curves))
    assert shown.alt == (
        "Precision at each recall. "
        "teacher: 95.0 % at 25.0 %, 90.0 % at 50.0 %, 85.0 % at 75.0 %, 82.0 % at 90.0 %; "
        "student: 90.0 % at 25.0 %, 80.0 % at 50.0 %, 70.0 % at 75.0 %, 64.0 % at 90.0 %."
    )
    for word in ("recall in %", "precision in %", "teacher", "student", "currentColor", "precision-at-each-recall-"):
        assert word in shown.svg


@pytest.mark.parametrize(
    ("value", "interval", "text"),
    [(-1.44, (-2.9, 0.1), "−1.4 points (−2.9 to +0.1)"), (0.01, None, "0.0 points"), (-0.01, None, "0.0 points"),
     (10.0, None, "+10.0 points")],
)  # fmt: skip
def test_points(value: float, interval: tuple[float, float] | None, text: str) -> None:
    assert points(value, interval) == text
