"""A report says which network is the teacher and which is deployed; before version 2, their places in it did."""

import json
from copy import deepcopy

import pytest

from edgekd.errors import EdgekdError
from edgekd.gate import load_subject
from edgekd.gate.subject import subject_of
from edgekd.report.schema import Report

PLACE = "cpu, onnxruntime, 1 thread"


@pytest.fixture
def report(run_folder) -> dict:
    """Of version 1: the teacher first, the deployed network last."""
    return json.loads((run_folder("run") / "report.json").read_text())


@pytest.fixture
def with_roles(report) -> dict:
    teacher, student = report["rows"]
    rows = [teacher | {"role": "teacher"}, student | {"role": "student"}]
    return report | {"schema_version": 2, "rows": rows, "deployed": {"model": "quantized", "place": PLACE}}


def test_both_versions_say_the_same(report, with_roles):
    assert subject_of(with_roles) == subject_of(report)


def changed(row: int, **values: object):
    return lambda report: report["rows"][row].update(values)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (changed(0, role="master"), r"rows\.0\.role"),
        (changed(0, role=["teacher"]), r"rows\.0\.role"),
        (changed(0, role=None), "not all rows have a role"),
        (changed(1, role="teacher"), "a teacher is not timed against itself"),
        (changed(0, role="student"), "one network is the teacher"),
        (lambda report: report.pop("deployed"), "the deployed network is not named"),
        (lambda report: [row.pop("role") for row in report["rows"]], "not all rows have a role"),
        (lambda report: [report.pop("deployed"), *(row.pop("role") for row in report["rows"])], "not all rows"),
        (lambda report: report["deployed"].update(model="teacher"), "by their order 'quantized'"),
        (lambda report: report["deployed"].update(model="pruned"), "by their order 'quantized'"),
        (lambda report: report["deployed"].update(place="cpu, onnxruntime, 2 threads"), "by their order 'quantized'"),
        (lambda report: report["rows"].reverse(), "the teacher's rows come first"),
        (lambda report: report["rows"].append(report["rows"][1] | {"model": "better"}), "by their order 'better'"),
        (changed(1, role="ensemble"), "has no file and no latency"),
        (changed(0, latency_vs_teacher={"ratio": 0.5}), "a teacher is not timed against itself"),
        (lambda report: report["rows"].insert(1, report["rows"][1] | {"threads": 4}), "by their order"),
        (lambda report: report.update(deployed="quantized"), "deployed"),
        (lambda report: report.update(deployed={"model": "quantized"}), r"deployed\.place"),
        (
            lambda report: report["rows"].append({**report["rows"][1], "threads": 4, "role": "ensemble"}),
            r"rows\.2\.role: 'quantized' has another role",
        ),
        (lambda report: report.update(schema_version=3), "reads up to 2"),
    ],
)
def test_what_contradicts_itself_is_refused(with_roles, change, says):
    document = deepcopy(with_roles)
    change(document)
    for read in (subject_of, Report.from_json):
        with pytest.raises(EdgekdError, match=says):
            read(document)


def test_a_baseline_of_either_is_the_same(run_folder, with_roles, tmp_path):
    folder = run_folder("again")
    before = load_subject(folder)
    (folder / "report.json").write_text(json.dumps(with_roles))
    assert load_subject(folder) == before
