from copy import deepcopy

from edgekd.report.html import render_html
from edgekd.report.reliability import reliability_pictures
from edgekd.report.schema import Report
from tests.report.sample import sample


def test_the_first_network_and_the_last_are_drawn_and_described() -> None:
    report = Report.from_json(sample())
    [drawn] = reliability_pictures(report.rows)
    known = [row for row in report.rows if row.reliability]
    assert drawn.alt.count("correct at a confidence of") == 2 * len(known[0].reliability or ())
    assert f"{known[0].model}: " in drawn.alt and f"{known[-1].model}: " in drawn.alt
    assert drawn.title in render_html(Report.from_json(sample()))


def test_one_network_is_drawn_once() -> None:
    report = deepcopy(sample())
    report["rows"] = [row for row in report["rows"] if row.get("reliability")][:1]
    [drawn] = reliability_pictures(Report.from_json(report).rows)
    assert drawn.alt.count("correct at a confidence of") == 6


def test_a_report_without_bins_has_no_picture() -> None:
    rows = [row.model_copy(update={"reliability": None}) for row in Report.from_json(sample()).rows]
    assert reliability_pictures(rows) == []
