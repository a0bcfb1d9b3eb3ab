"""Pages, budget and comparison of a task whose samples are not right or wrong."""

import re
from types import SimpleNamespace
from typing import Any

import pytest

from edgekd.errors import DataError, EdgekdError
from edgekd.report import budget
from edgekd.report.budget import check
from edgekd.report.comparison import pairs, summary
from edgekd.report.comparison_page import render_comparison, render_comparison_markdown
from edgekd.report.html import render_html
from edgekd.report.markdown import render_markdown
from edgekd.report.pareto import fronts
from edgekd.report.schema import Latency, Report, Row
from edgekd.report.steps import steps
from edgekd.report.verdict import line
from edgekd.tasks.compare import compare
from edgekd.tasks.metric import Correct, Metric
from edgekd.tasks.multilabel import Multilabel
from tests.report.multilabel import sample

MAP, F1 = Multilabel.metrics
MAE = Metric("mae", "mean absolute error", "mm", "lower", "bootstrap", Correct, lambda: Correct)


@pytest.fixture
def document(tmp_path) -> dict[str, Any]:
    return sample(tmp_path)


def rows(document) -> dict[str, Row]:
    return {row.model: row for row in Report.from_json(document).rows}


def test_rows_give_figures_by_metric(document):
    report = Report.from_json(document)
    assert report.metrics == (MAP, F1)
    row, kept = report.rows[0], document["rows"][0]
    assert (row.figure(MAP), row.figure(F1), row.interval(MAP)) == (
        *(kept["map"], kept["macro_f1"]),
        tuple(kept["map_ci95"]),
    )
    assert row.figure(MAE) is None and row.interval(MAE) is None
    assert Report.from_json(report.to_json()) == report


def test_a_budget_bounds_any_metric_with_its_paired_interval(document, tmp_path):
    teacher, student = rows(document)["teacher"], rows(document)["quantized"]
    drop = 100 * (teacher.figure(MAP) - student.figure(MAP))
    found = check({"map_drop": drop + 1, "macro_f1_drop": 0.0}, student, teacher, Multilabel.metrics, tmp_path)
    assert [(each.name, each.unit, each.met) for each in found] == [
        ("map_drop", "points", True),
        ("macro_f1_drop", "points", False),
    ]
    assert found[0].value == pytest.approx(drop)
    kept = (each.kept_evidence([MAP], tmp_path)["map"] for each in (teacher, student))
    assert found[0].ci95 == pytest.approx([100 * end for end in compare(MAP, *kept).interval])
    assert found[0].n == 300
    alone = check({"map_drop": 1}, student, teacher, Multilabel.metrics)
    assert alone[0].ci95 is None and alone[0].value == pytest.approx(drop)


def test_a_rise_of_what_is_better_low_is_a_drop():
    teacher, student = (Row(model="m", runtime="r", precision="p", mae=value) for value in (2.0, 2.5))
    [found] = check({"mae_drop": 0.4}, student, teacher, [MAE])
    assert (found.value, found.unit, found.met) == (0.5, "mm", False)
    assert line(found, MAE).name == "mean absolute error rise" and line(found, MAE).said == "0.500 mm, at most 0.4 mm"
    [gained] = check({"mae_drop": 0.25}, teacher, student, [MAE])
    assert gained.value == -0.5 and line(gained, MAE).name == "mean absolute error"
    assert line(gained, MAE).said == "0.500 mm better than the teacher; a rise of 0.25 is allowed"
    assert line(found.model_copy(update={"name": "map_drop"}), MAP).name == "mean average precision drop"


@pytest.mark.parametrize(
    ("interval", "kept"),
    [((-0.123456789, 0.6), (-0.123457, 0.6)), ((1.2345e-8, 4.5678e-7), (1.2e-8, 4.57e-7))],
)
def test_an_interval_has_three_digits_at_least_in_whatever_unit_the_metric_is(monkeypatch, interval, kept):
    """The paired comparison is a double: of errors in micrometres, in metres, and of larger ones."""
    monkeypatch.setattr(budget, "difference", lambda *_: SimpleNamespace(interval=interval))
    teacher, student = (Row(model="m", runtime="r", precision="p", mae=value) for value in (2.0, 2.5))
    [found] = check({"mae_drop": 0.4}, student, teacher, [MAE])
    assert found.ci95 == pytest.approx(kept, rel=1e-9)


def test_steps_have_an_interval_where_the_files_are(document, tmp_path):
    report = Report.from_json(document)
    with_files, without = steps(report, tmp_path), steps(report)
    change = re.compile(r"−\d+\.\d points \(−\d+\.\d to [−+]\d+\.\d\)")
    assert all(change.fullmatch(step.metric) for step in with_files)
    assert [step.metric for step in without] == [step.metric.partition(" (")[0] for step in with_files]


def test_a_changed_file_is_not_read(document, tmp_path):
    (tmp_path / "quantized.npz").write_bytes((tmp_path / "teacher.npz").read_bytes())
    with pytest.raises(DataError, match="is not the evidence that was kept"):
        steps(Report.from_json(document), tmp_path)


def test_the_page_has_the_tasks_words(document, tmp_path):
    page = render_html(Report.from_json(document), tmp_path)
    for said in (
        *("6 labels,", "Mean average precision</th>", "Macro F1</th>", "mean average precision drop"),
        *("Mean average precision against latency", "Label by label", "Average precision of each label"),
        *("validation mean average precision<", "Mean average precision in pairs"),
        *("a validation mean average precision of 70.0 %", '<th scope="row">labels</th>', "Samples with it"),
    ):
        assert said in page, said
    text = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    assert not re.search("accura|class[ -]|classes", re.sub(r'class="[^"]*"', "", text))


def test_the_markdown_has_them_too(document):
    text = render_markdown(Report.from_json(document))
    assert "| Mean average precision | Macro F1 | Size |" in text
    assert "Of 6 labels " in text and "lost average precision from teacher to quantized" in text


def test_runs_are_compared_in_pairs(document, tmp_path):
    worse = {**document, "rows": document["rows"][:2]}
    reports = {"first": Report.from_json(document), "second": Report.from_json(worse)}
    (found,) = pairs(reports, dict.fromkeys(reports, tmp_path))
    assert re.fullmatch(r"\+\d+\.\d points \(.+ to .+\)", found.difference) and found.lost is None
    assert found.to_json()["map"] == found.difference
    best = 100 * document["rows"][1]["map"]
    assert (
        summary(reports) == f"2 of 2 runs met their budget; the best mean average precision is {best:.1f} %, of second."
    )
    page, text = render_comparison(reports, [found]), render_comparison_markdown(reports, [found])
    assert "Mean average precision in pairs" in page and "Lost" not in page and found.difference in text
    (alone,) = pairs(reports)
    assert alone.difference.startswith("not compared: the predictions were not kept")


def test_runs_of_two_tasks_are_not_compared(document, sample):
    reports = {"labels": Report.from_json(document), "classes": Report.from_json(sample)}
    with pytest.raises(EdgekdError, match="labels: mean average precision; classes: accuracy"):
        summary(reports)


def test_a_front_keeps_what_is_lower_where_less_is_better():
    points = {"a": (2.0, 1.0), "b": (1.0, 3.0), "c": (1.5, 4.0)}
    timed = [
        Row(model=model, runtime="r", precision="p", mae=error, latency_ms=Latency(p50=ms, n=9))
        for model, (ms, error) in points.items()
    ]
    assert [[row.model for row in each] for each in fronts(timed, MAE)] == [["b", "a"]]


def test_other_units_are_shown():
    assert MAE.shown(4.123, (3.9, 4.35)) == "4.12 mm (3.90–4.35)"
    assert MAE.shown_change(0.126, (-0.3, 0.5)) == "+0.126 mm (−0.300 to +0.500)"
    assert (MAE.heading, MAE.axis) == ("Mean absolute error", "mean absolute error in mm")


def test_an_unreadable_breakdown_is_refused(document):
    document["by_label"]["labels"][0]["n"] = -1
    with pytest.raises(EdgekdError, match=r"labels\.0\.n"):
        Report.from_json(document)
