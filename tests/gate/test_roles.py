"""A report says which network is the teacher and which is deployed; before version 2, their places in it did."""

import json
from copy import deepcopy

import pytest

from edgekd.errors import EdgekdError
from edgekd.gate import load_subject
from edgekd.gate.subject import subject_of

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


def test_order_says_nothing_where_there_are_roles(with_roles):
    turned = with_roles | {"rows": with_roles["rows"][::-1]}
    assert subject_of(turned) == subject_of(with_roles)


def test_another_row_than_the_last_is_deployed(with_roles):
    later = with_roles["rows"][1] | {"model": "later", "size_bytes": 1}
    whole = with_roles | {"rows": [*with_roles["rows"], later]}
    assert subject_of(whole) == subject_of(with_roles)


def changed(row: int, **values: object):
    return lambda report: report["rows"][row].update(values)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (changed(0, role="master"), r"rows\.0\.role"),
        (changed(0, role=["teacher"]), r"rows\.0\.role"),
        (changed(0, role=None), "not all rows have a role"),
        (changed(1, role="teacher"), "one network is the teacher"),
        (changed(0, role="student"), "one network is the teacher"),
        (lambda report: report.pop("deployed"), "the deployed network is not named"),
        (lambda report: [row.pop("role") for row in report["rows"]], "not all rows have a role"),
        (lambda report: [report.pop("deployed"), *(row.pop("role") for row in report["rows"])], "not all rows"),
        (lambda report: report["deployed"].update(model="teacher"), "teacher is no student"),
        (lambda report: report["deployed"].update(model="pruned"), "no row is of pruned"),
        (lambda report: report["deployed"].update(place="cpu, onnxruntime, 2 threads"), "no row is of quantized on"),
        (lambda report: report.update(deployed="quantized"), "deployed"),
        (lambda report: report.update(deployed={"model": "quantized"}), r"deployed\.place"),
        (
            lambda report: report["rows"].append({**report["rows"][1], "threads": 4, "role": "ensemble"}),
            r"rows\.2\.role: quantized has another role",
        ),
        (lambda report: report.update(schema_version=3), "reads up to 2"),
    ],
)
def test_what_contradicts_itself_is_refused(with_roles, change, says):
    document = deepcopy(with_roles)
    change(document)
    with pytest.raises(EdgekdError, match=says):
        subject_of(document)


def test_a_baseline_of_either_is_the_same(run_folder, with_roles, tmp_path):
    folder = run_folder("again")
    before = load_subject(folder)
    (folder / "report.json").write_text(json.dumps(with_roles))
    assert load_subject(folder) == before
