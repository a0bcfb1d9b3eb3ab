import io
import json
from xml.etree import ElementTree

import pytest
from rich.console import Console

from edgekd.gate import check, load_subject
from edgekd.gate.junit import render_junit
from edgekd.gate.markdown import render_markdown
from edgekd.gate.table import render_table
from edgekd.gate.verdict import Verdict


@pytest.fixture
def verdict(run_folder):
    worse = {"size_bytes": 101_000, "params": 40_000, "latency_vs_teacher": {"ratio": 0.265, "ci95": [0.24, 0.29]}}
    return check(load_subject(run_folder("before")), load_subject(run_folder("after", **worse)))


def test_the_headline_counts(verdict):
    assert verdict.headline() == "toy: 1 of 9 checks failed, 1 warning, 1 better than the baseline"


def test_markdown_tells_what_is_wrong_first(verdict):
    text = render_markdown(verdict)
    lines = [line for line in text.splitlines() if line]
    assert lines[0].startswith("### ❌ toy: 1 of 9 checks failed")
    assert lines[1].startswith("- ❌ **size\\_bytes (cpu, onnxruntime, 1 thread)**: +1000 B (+1.00%); allowed 0 B.")
    assert lines[2].startswith("- ⚠️ **latency\\_ratio")
    assert sum(line.startswith("| ") for line in lines) == 1 + 9


def test_junit_is_read_by_a_parser_and_counts_failures(verdict):
    suites = ElementTree.fromstring(render_junit(verdict).encode())
    [suite] = suites
    assert (suite.get("tests"), suite.get("failures")) == ("9", "1")
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failed == ["size_bytes"]


def test_the_table_shows_every_finding(verdict):
    written = io.StringIO()
    Console(width=200, file=written).print(render_table(verdict))
    text = written.getvalue()
    assert all(finding.metric in text for finding in verdict.findings)
    assert "101000 B" in text


def test_json_is_plain(verdict):
    document = json.loads(json.dumps(verdict.to_json()))
    assert document["passed"] is False
    assert document["findings"][0]["metric"] == "size_bytes"


def test_eighty_columns_hold_the_reasons_in_whole_words_and_end_with_the_verdict(verdict):
    written = io.StringIO()
    Console(width=80, file=written).print(render_table(verdict, "edgekd baseline promote RUN BASELINE"))
    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in written.getvalue()
    assert lines[0].strip() == "cpu, onnxruntime, 1 thread" and lines[1].split()[-1] == "What"
    words = {word for finding in verdict.findings for word in finding.cell.split()}
    assert words <= set(written.getvalue().split())
    assert lines[-2:] == [
        "if this is meant: edgekd baseline promote RUN BASELINE",
        "toy: 1 of 9 checks failed, 1 warning, 1 better than the baseline",
    ]


def test_what_is_unchanged_takes_one_line_and_what_is_not_judged_names_no_bound(run_folder):
    verdict = check(load_subject(run_folder("before")), load_subject(run_folder("after")))
    written = io.StringIO()
    Console(width=80, file=written).print(render_table(verdict))
    [accuracy] = [line for line in written.getvalue().splitlines() if "accuracy" in line]
    assert accuracy.rstrip().endswith(" as before on all 2000 samples") and "on all 2000 samples" in render_markdown(
        verdict
    )
    found = {each["metric"]: each for each in verdict.to_json()["findings"]}
    assert found["accuracy"]["what"].startswith("0.00 points lost, at least 0.00 with 95% confidence; 0 of 2000 ")
    assert found["latency_ms"]["what"] == "as before" and "brief" not in found["accuracy"]


def test_what_is_better_and_what_warns_are_one_verdict(run_folder):
    after = {"params": 20_000, "latency_vs_teacher": {"ratio": 0.265, "ci95": [0.24, 0.29]}}
    verdict = check(load_subject(run_folder("before")), load_subject(run_folder("after", **after)))
    why = "better in params, with warnings on latency_ratio; to keep it"
    assert (verdict.passed, verdict.why_promote()) == (True, why)
    assert render_markdown(verdict).splitlines()[-1].startswith("Better in params, with warnings on latency\\_ratio;")
    assert Verdict.of("same", list(verdict.at("warn"))).why_promote() is None
