import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from edgekd.report.colours import INK, PAPER
from edgekd.report.html import render_html
from edgekd.report.markdown import render_markdown
from edgekd.report.plots import picture, pictures
from edgekd.report.schema import Report
from edgekd.report.table import render_table
from edgekd.report.verdict import quality_lines, row_name, row_note
from tests.toy import blank_pictures

HOSTILE = """<script>alert('x')</script> | "q" & $\\frac{ `c` ]]> --> </style>"""
MINIMAL = {"schema_version": 1, "name": "bare", "recipe_sha256": "0"}
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def terminal(report: dict[str, Any], width: int = 120) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(render_table(Report.from_json(report)))
    return file.getvalue()


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for what the page says in its own words."""
    blank_pictures(monkeypatch)


def test_the_page_is_well_formed_and_loads_nothing(sample_page: str) -> None:
    page = Page(sample_page)
    assert not page.open
    assert not {"script", "link", "img", "iframe", "object", "embed"} & {tag for tag, _ in page.seen}
    for tag, attributes in page.seen:
        for key in ("src", "href", "xlink:href", "action", "data"):
            # Links lead to files of the run, and are followed by a click alone.
            assert (attributes.get(key) or "#").startswith(("#", "./") if (tag, key) == ("a", "href") else "#")
    assert not re.findall(r"url\((?!#)|@import", sample_page)
    assert not re.findall(r"https?://", re.sub(r'xmlns(:\w+)?="[^"]*"', "", sample_page))


def test_ids_are_unique_and_references_resolve(sample_page: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', sample_page)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'(?:href="#|url\(#|aria-labelledby=")([^")]+)', sample_page))
    assert used <= set(ids)


def test_pictures_say_what_they_show(sample_page: str) -> None:
    page = Page(sample_page)
    described = [attributes["aria-label"] for _, attributes in page.seen if attributes.get("role") == "img"]
    assert len(described) == sum(tag == "svg" for tag, _ in page.seen) == 11
    assert "quantized int8: 97.2 % (96.0–98.1) at 0.380 ms" in (described[0] or "")
    assert (described[0] or "").endswith("On the Pareto front: teacher, distilled, quantized int8.")
    assert "scratch: 97.0 % before, 94.8 % after" in (described[7] or "")


def test_tables_have_headers(sample_page: str) -> None:
    page = Page(sample_page)
    assert all("scope" in attributes for tag, attributes in page.seen if tag == "th")
    assert {"main", "header", "h1"} <= {tag for tag, _ in page.seen}
    assert sample_page.count("<table") == sample_page.count("<caption")


def test_hostile_names_stay_text(sample: dict[str, Any], tmp_path: Path) -> None:
    sample |= {"name": HOSTILE, "command": HOSTILE, "environment": {HOSTILE: HOSTILE}}
    sample["data"]["name"], sample["data"]["classes"] = HOSTILE, [HOSTILE]
    sample["rows"][1] |= {"model": HOSTILE, "device": HOSTILE, "file": HOSTILE}
    sample["stages"], sample["profiles"] = sample["stages"][2:3], sample["profiles"][:1]
    sample["stages"][0]["name"] = HOSTILE
    sample["stages"][0]["metrics"]["widths"][0]["layer"] = HOSTILE
    sample["profiles"][0]["layers"][0]["name"] = HOSTILE
    sample["by_class"]["before"] = sample["by_class"]["classes"][0]["name"] = HOSTILE
    sample["by_class"]["confusions"][0]["answered"] = HOSTILE
    sample["warnings"] = [{"code": HOSTILE, "message": HOSTILE}]
    page = Page(render_html(Report.from_json(sample)))
    assert "script" not in {tag for tag, _ in page.seen}
    assert HOSTILE in "".join(page.text)
    picture(Report.from_json(sample), tmp_path / "hostile.png")
    table = render_markdown(Report.from_json(sample)).splitlines()
    # But for the command, which is code.
    assert "<script" not in re.sub(r"\\<|^This tries the first: ``.*``$", "", "\n".join(table), flags=re.MULTILINE)
    header, broken = (next(line for line in table if word in line) for word in ("| Model", "frac"))
    assert header and broken
    unescaped = [len(re.findall(r"(?<!\\)\|", line)) for line in table if line.startswith("| ")]
    assert set(unescaped[-6:]) == {11}
    assert "<script>" in terminal(sample)


def test_absent_figures_are_dashes() -> None:
    row = {"model": "teacher", "runtime": "pytorch", "precision": "float32"}
    report = MINIMAL | {"rows": [row]}
    assert "| teacher | pytorch | float32 | – | – | – | – | – | – |" in render_markdown(Report.from_json(report))
    assert re.search(r"teacher +pytorch +float32( +–){6}", terminal(report))
    assert Page(render_html(Report.from_json(report))).text.count("–") >= 6
    assert not re.search(r"\b0(\.0+)? ?(ms|%|MB|B)\b", render_markdown(Report.from_json(report)))


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_keeps_names_whole(sample: dict[str, Any], width: int) -> None:
    text = terminal(sample, width)
    assert text.count("onnxruntime") >= 5 and "quantized (!)" in text
    assert max(map(len, text.splitlines())) <= width
    assert "latency: –, at most 0.5 ms: not met (not measured)" in text
    assert "accuracy drop: 0.600 points, at most 1 points: met (0.400 points to spare)" in text
    assert text.splitlines()[-1] == "Budget not met: 2 of 4 checks failed"


def test_without_anything_measured() -> None:
    assert "No budget set" in render_html(Report.from_json(MINIMAL))
    assert render_markdown(Report.from_json(MINIMAL)) == "### bare\n\n**No budget set**\n"
    assert "No budget set" in terminal(MINIMAL)


def test_the_same_report_gives_the_same_bytes(sample: dict[str, Any], sample_page: str, tmp_path: Path) -> None:
    assert render_html(Report.from_json(sample)) == sample_page
    picture(Report.from_json(sample), tmp_path / "a.png")
    picture(Report.from_json(sample), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open(tmp_path / "a.png").size[0] > 900


def test_pictures_take_the_colours_of_the_page(sample_page: str) -> None:
    drawn = re.findall(r"<svg .*?</svg>", sample_page, re.DOTALL)
    assert len(drawn) == 11
    for svg in drawn:
        assert "currentColor" in svg and "<metadata" not in svg
        assert INK not in svg and PAPER not in svg


@pytest.mark.parametrize("rows", [1, 14])
def test_pictures_of_few_and_of_many(sample: dict[str, Any], rows: int) -> None:
    timed = [row for row in sample["rows"] if "latency_ms" in row]
    sample["rows"] = [timed[i % 5] | {"model": f"model {i}"} for i in range(rows)]
    (against, _) = pictures(Report.from_json(sample))
    assert all(f"model {i}<" in against.svg for i in range(rows))


def test_everything_that_a_run_knows_is_on_the_page(sample_page: str) -> None:
    text = " ".join("".join(Page(sample_page).text).split())
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", sample_page)
    assert headings == [
        "Budget not met: 2 of 4 checks failed",
        "Warnings",
        "Results",
        "What each stage changed",
        "Class by class",
        "Calibration",
        "Where the time goes",
        "Latency and memory in detail",
        "Parity with the trained network",
        "Next steps and files",
        "To repeat it",
    ]
    assert "0.400 points to spare" in text
    assert "Of 13 layers that multiply, 13 in int8." in text
    assert "edgekd run recipes/parts.yaml --out runs/parts --set distill.epochs=30" in text


def test_markdown_tells_of_the_classes_shortly(sample: dict[str, Any]) -> None:
    (told,) = (
        line for line in render_markdown(Report.from_json(sample)).splitlines() if line.startswith("Of 4 classes")
    )
    assert told == (
        "Of 4 classes 2 lost accuracy from teacher to quantized and 1 gained. Most lost: scratch, 388 → 379 correct of "
        "400; ok, 746 → 744 correct of 750. Confusions that grew: scratch as ok, 7 → 14; ok as dent, 1 → 3."
    )


def test_many_warnings_of_one_kind_are_folded(sample: dict[str, Any]) -> None:
    sample["warnings"] = [{"code": "class_lost", "message": f"class {number}"} for number in range(40)]
    found = [
        line
        for line in render_markdown(Report.from_json(sample)).splitlines()
        if "class" in line and line.startswith("- ")
    ]
    assert found == [f"- class {number} (class\\_lost)" for number in range(5)] + [
        "- 35 more of this kind (class\\_lost)"
    ]


def test_all_classes_that_lost_are_one_line(sample: dict[str, Any]) -> None:
    sample["by_class"]["classes"] = [
        {"name": f"c{number}", "n": 100, "right_before": 90, "right_after": 90 - number} for number in range(12)
    ]
    sample["data"]["classes"] = [f"c{number}" for number in range(12)]
    sample["warnings"] = [{"code": "class_lost", "message": f"class c{number}"} for number in range(4, 12)]
    found = [line for line in render_markdown(Report.from_json(sample)).splitlines() if "much worse" in line]
    assert found == [
        "- 8 of 12 classes are predicted much worse than by the teacher: c11 90.0 % to 79.0 %, c10 90.0 % to 80.0 %, "
        "c9 90.0 % to 81.0 %, c8 90.0 % to 82.0 %, c7 90.0 % to 83.0 %, 3 more (class\\_lost)"
    ]
    sample["by_class"]["classes"] = sample["by_class"]["classes"][:1] + sample["by_class"]["classes"][-1:]
    assert [each.text for each in quality_lines(Report.from_json(sample))] == [
        "1 of 12 classes is predicted much worse than by the teacher: c11 90.0 % to 79.0 %"
    ]


def test_a_slowdown_has_one_figure(sample: dict[str, Any]) -> None:
    sample["warnings"] = [{"code": "int8_slower_than_float", "message": "1.30 times as long as pruned"}]
    sample["rows"][-1]["warnings"] = [{"code": "int8_slower_than_float", "message": "1.14 times as long as in float"}]
    page, table = render_html(Report.from_json(sample)), terminal(sample)
    assert all("1.30 times" in text and "1.14 times" not in text for text in (page, table))


@pytest.mark.usefixtures("no_pictures")
def test_the_headline_has_the_figures_of_the_deployed_network(sample: dict[str, Any]) -> None:
    sample["rows"][-1] |= {"valid": True, "warnings": []}
    said = "13.9× faster · 276× smaller · −0.6 points"
    page = " ".join(Page(render_html(Report.from_json(sample))).text)
    assert said in page and said in render_markdown(Report.from_json(sample)) and said in terminal(sample)
    # A file that stayed float says so in the same line.
    sample["rows"][-1]["warnings"] = [{"code": "int8_not_faster", "message": "this file is float"}]
    whole = f"{said} (int8: int8 was slower here)"
    assert whole in render_markdown(Report.from_json(sample)) and whole in terminal(sample)
    sample["rows"][-1]["valid"] = False
    assert "276× smaller · −0.6 points" in terminal(sample) and said not in terminal(sample)


def test_the_page_has_neither_keys_nor_whole_hashes_in_its_text(sample: dict[str, Any]) -> None:
    sample["stages"][2]["metrics"] |= {"kept": {"macs": 0.5}, "own_figure": {"of_it": 0.25}}
    sample["stages"][3]["metrics"]["history"] = sample["stages"][3]["metrics"]["history"][:1]
    page = render_html(Report.from_json(sample))
    text = " ".join(Page(page).text)
    assert not re.search(r"[0-9a-f]{40}", text) and "kept" not in text and "own figure of it" in text
    assert f'<code title="{"3f9a" * 16}">3f9a3f9a3f9a</code>' in page
    assert "Training of prune" in text and "Training of quantize" not in text


@pytest.mark.usefixtures("no_pictures")
def test_links_lead_to_files_of_the_run_alone(sample: dict[str, Any]) -> None:
    sample["rows"][1]["file"] = "exports/00-teacher/model.onnx"
    sample["rows"][2]["file"] = 'javascript:alert("x")//'
    page = Page(render_html(Report.from_json(sample)))
    links = [attributes["href"] for tag, attributes in page.seen if tag == "a"]
    assert links[:3] == ["#main", "./exports/00-teacher/model.onnx", "./javascript%3Aalert%28%22x%22%29//"]
    assert {"./bundle", "./report.json"} < set(links)


@pytest.mark.usefixtures("no_pictures")
def test_what_was_timed_beside_a_baseline_is_said(sample: dict[str, Any]) -> None:
    found = {"ratio": 1.002, "ci95": [0.994, 1.011], "baseline_sha256": "ab" * 32, "valid": True}
    sample["rows"][-1]["latency_vs_baseline"] = found
    said = "takes 1.00 (0.994–1.01) times as long as the baseline&#39;s file abababababab, timed in turns."
    assert said in render_html(Report.from_json(sample))


@pytest.mark.usefixtures("no_pictures")
def test_where_samples_cannot_tell_every_rendering_says_so(sample: dict[str, Any]) -> None:
    sample["budget"]["checks"][0] |= {"ci95": [-0.2, 1.4], "n": 1500}
    said = "1500 samples cannot tell: between -0.200 and 1.40 points with 95 % confidence"
    page = " ".join(Page(render_html(Report.from_json(sample))).text)
    assert said in page and said in render_markdown(Report.from_json(sample)) and said in terminal(sample, 200)
    sample["budget"]["checks"][0]["ci95"] = [0.2, 0.9]
    assert "cannot tell" not in render_markdown(Report.from_json(sample))


@pytest.mark.usefixtures("no_pictures")
def test_a_latency_and_a_cost_that_differ_are_shown_under_two_names(sample: dict[str, Any]) -> None:
    for row, cost in ((sample["rows"][1], 5.31), (sample["rows"][2], 0.42)):
        row["cost_ms"] = {"p50": cost, "ci95_p50": [cost * 0.99, cost * 1.01], "rounds": 40, "of": 60, "taken": 0.4}
    report = Report.from_json(sample)
    assert report.to_json()["rows"][2]["cost_ms"]["p50"] == 0.42
    page, narrow = " ".join(Page(render_html(report)).text), terminal(sample, 90)
    for text in (page, render_markdown(report), narrow):
        assert all(each in text for each in ("p50 ms", "Cost ms", "0.810", "0.420"))
        assert "took, and ratios are of costs." in " ".join(text.split())
    assert max(map(len, narrow.splitlines())) <= 90
    assert "A wider terminal also shows: Cost ms." in (narrower := terminal(sample, 80)) and "faster" in narrower
    sample["rows"][2]["cost_ms"] |= {"p50": 0.815, "ci95_p50": None}
    assert "Cost ms" not in render_markdown(Report.from_json(sample)) + terminal(sample, 80)


def test_a_warning_of_several_rows_has_the_figures_of_the_first(sample: dict[str, Any]) -> None:
    teacher, first, *_ = (row for row in Report.from_json(sample).rows if row.latency_ms)
    same = f"{teacher.model}, {first.model}: busy (c)"
    assert str(row_note("c", [(teacher, "busy"), (first, "busy")])) == same
    said = f"{row_name(teacher)}: spreads over 12%; likewise {first.model} (c)"
    assert str(row_note("c", [(teacher, "spreads over 12%"), (first, "spreads over 9%")])) == said
    assert str(row_note("c", [(first, f"{first.model} differs")])) == f"{first.model} differs (c)"
