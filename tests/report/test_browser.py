"""The pages in a real Chromium: nothing is loaded, nothing is complained of, and they fit phones and paper."""

import json
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgekd.report.comparison import pairs
from edgekd.report.comparison_page import render_comparison
from edgekd.report.html import render_html
from edgekd.report.schema import Report
from tests.needs import find, needs

from . import sample as invented

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PHONE, DESK = 360, 1200
WIDTHS = (PHONE, 390, 768, 900, 1280)
# A table of four metrics with their intervals.
BOXES = Path(__file__).parents[2] / "benchmarks/results/scenes_boxes/report.json"
LONG = "a-name-without-a-space-in-it-that-is-longer-than-any-phone-is-wide"

pytestmark = needs("chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e .[dev]")
    with playwright.sync_playwright() as started:
        # A container's root has no sandbox to start it in; the pages are our own.
        browser = started.chromium.launch(executable_path=find("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, sample_page: str) -> dict[str, Path]:
    report = Report.from_json(invented.sample())
    folder = tmp_path_factory.mktemp("pages")
    both = {"one": report, LONG: report}
    kept = json.loads(BOXES.read_text())
    curve = [1 - (place / 100) ** 4 for place in range(101)]
    kept["by_box_class"] |= {"curve_before": curve, "curve_after": [0.9 * each for each in curve]}
    boxes = Report.from_json(kept)
    texts = {
        "report": sample_page,
        "comparison": render_comparison(both, pairs(both)),
        "boxes": render_html(boxes),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


@pytest.fixture
def visit(browser: "Browser", pages: dict[str, Path]) -> Iterator[Callable[..., "Page"]]:
    contexts = []

    def open_page(name: str, width: int = DESK, **options: Any) -> "Page":
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, **options))
        page = contexts[-1].new_page()
        page.goto(pages[name].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize(("name", "pictures"), [("report", 11), ("comparison", 2), ("boxes", 18)])
def test_it_opens_without_a_request_or_a_complaint(
    browser: "Browser", pages: dict[str, Path], name: str, pictures: int
) -> None:
    context = browser.new_context()
    page = context.new_page()
    requests, said = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(pages[name].as_uri(), wait_until="networkidle")
    boxes = [picture.bounding_box() for picture in page.get_by_role("img").all()]
    context.close()
    assert (requests, said) == ([pages[name].as_uri()], [])
    assert len(boxes) == pictures
    assert all(box and box["width"] > 200 and box["height"] > 50 for box in boxes)


@pytest.mark.parametrize(
    ("name", "width"),
    [*product(("report", "comparison"), WIDTHS), ("boxes", 390), ("boxes", DESK)],
)
def test_nothing_is_cut_or_scrolls_sideways_or_overlaps(visit: Callable[..., "Page"], name: str, width: int) -> None:
    page = visit(name, width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(CUT) == []
    assert page.evaluate(OVERLAPPING) == []


def test_no_half_of_the_desk_is_empty(visit: Callable[..., "Page"]) -> None:
    page = visit("report")
    stages = [each.bounding_box() for each in page.locator(".stage").all()]
    assert all(stages) and {round(each["x"]) for each in stages if each} != {round(stages[0]["x"])}


# Text outside of the window or its table, or in a box that is smaller and does not let itself be scrolled up and down.
CUT = """() => [...document.querySelectorAll('th, td, p, li, dd, h1, h2, h3, figcaption')]
  .filter(e => innerWidth > 900 || !e.closest('thead')).filter(e => {
    const box = e.getBoundingClientRect(), table = e.closest('.scroll');
    const right = table ? Math.min(innerWidth, table.getBoundingClientRect().right) : innerWidth;
    return box.left < 0 || box.right > right + 0.5 || e.scrollWidth > e.clientWidth + 1;
  }).map(e => e.textContent.trim().slice(0, 40))"""
# Cells of a row, blocks of a section, and labels in a picture that lie over each other.
OVERLAPPING = """() => {
  const over = (one, other) => Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1.5 &&
    Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 1.5;
  const found = [];
  for (const parent of document.querySelectorAll('tbody tr, main > section, dl, .pictures, .verdict')) {
    const boxes = [...parent.children].filter(e => getComputedStyle(e).position !== 'absolute')
      .map(e => [e, e.getBoundingClientRect()]);
    boxes.forEach(([one, a], n) => boxes.slice(n + 1).forEach(([other, b]) => {
      if (over(a, b)) found.push(one.textContent.trim().slice(0, 30) + ' / ' + other.textContent.trim().slice(0, 30));
    }));
  }
  return found;
}"""


def test_a_phone_shows_verdicts_and_margins_first(visit: Callable[..., "Page"]) -> None:
    page = visit("report", PHONE)
    assert page.locator(".verdict thead th").all_text_contents()[:3] == ["Check", "Verdict", "Margin"]
    for cell in page.locator(".verdict tbody tr > :nth-child(3)").all():
        box = cell.bounding_box()
        assert box and box["x"] + box["width"] <= PHONE - 16


def test_the_dark_is_dark_and_as_readable(visit: Callable[..., "Page"]) -> None:
    colours = {scheme: visit("report", color_scheme=scheme).evaluate(COLOURS) for scheme in ("light", "dark")}
    assert luminance(colours["light"]["paper"]) > 0.9
    assert luminance(colours["dark"]["paper"]) < 0.05
    for found in colours.values():
        for ink in ("ink", "soft", "met", "unmet", "picture"):
            assert contrast(found[ink], found["paper"]) >= 4.5, ink  # WCAG 2.2, 1.4.3


COLOURS = """() => {
  const of = (selector, key) => getComputedStyle(document.querySelector(selector))[key];
  return {paper: of('body', 'backgroundColor'), ink: of('body', 'color'), soft: of('.soft', 'color'),
          met: of('td.met', 'color'), unmet: of('td.unmet', 'color'), picture: of('svg text', 'fill')};
}"""


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it, of ``rgb(r, g, b)``."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_keyboard_reaches_everything_that_scrolls(visit: Callable[..., "Page"]) -> None:
    page = visit("report", PHONE)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    scrolls = page.evaluate(
        "[...document.querySelectorAll('*')].filter(e => ['auto', 'scroll'].includes(getComputedStyle(e).overflowX) && "
        "e.scrollWidth > e.clientWidth && !(e.tabIndex === 0 && e.getAttribute('aria-label'))).length"
    )
    assert scrolls == 0
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_screen_reader_finds_its_way(visit: Callable[..., "Page"]) -> None:
    page = visit("report")
    tree = page.locator("body").aria_snapshot()
    assert tree.count("- main") == tree.count("- banner") == 1
    assert '- heading "sample-parts-inspection" [level=1]' in tree
    assert '- region "Class by class"' in tree
    assert 'img "Accuracy against the median time of an inference' in tree
    assert '- rowheader "scratch"' in tree


def test_paper_shows_what_a_screen_would_scroll(visit: Callable[..., "Page"]) -> None:
    page = visit("report", 794)  # A4 at 96 dpi
    page.emulate_media(media="print")
    assert page.evaluate("[...document.querySelectorAll('.tall')].every(e => e.scrollHeight <= e.clientHeight + 1)")
    assert page.evaluate("document.documentElement.scrollWidth") == 794
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_a_page_is_at_most_six_megabytes_made_in_at_most_five_seconds() -> None:
    report = large()
    before = time.process_time()
    page = render_html(Report.from_json(report))
    taken = time.process_time() - before
    assert len(page.encode()) <= 6_000_000
    assert taken <= 5, f"{taken:.1f} s"


def large() -> dict[str, Any]:
    """The sample with the classes of ImageNet and the layers of a ResNet-152."""
    report = invented.sample()
    classes = [{"name": f"class {n}", "n": 50, "right_before": 40, "right_after": 40 - n % 7} for n in range(1000)]
    report["by_class"]["classes"] = classes
    report["data"]["classes"] = [each["name"] for each in classes]
    for profile in report["profiles"]:
        profile["layers"] = [layer | {"of_total": layer["of_total"] / 12} for layer in profile["layers"]] * 12
    return report
