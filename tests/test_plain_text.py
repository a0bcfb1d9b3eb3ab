"""What comes from elsewhere is words in every medium: the functions by themselves, then the places that use them."""

import io
import re
import unicodedata
from xml.etree import ElementTree

import pytest
from rich.console import Console
from rich.text import Text

from edgekd import plain_text
from edgekd.cli import main
from edgekd.cli.output import tell
from edgekd.gate.junit import render_junit
from edgekd.gate.markdown import render_markdown as gate_markdown
from edgekd.gate.table import render_table as gate_table
from edgekd.gate.verdict import Finding, Verdict
from edgekd.log import get_logger
from edgekd.report.html import render_html
from edgekd.report.markdown import render_markdown
from edgekd.report.schema import Report
from edgekd.report.table import render_table
from tests.report.sample import sample

EVIL = [
    "\x1b[31mred\x1b[0m",
    "\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x07",
    "\x9b2J\x07\x08\x7f",
    "a\rb\nc\r\nd\x0be\x85f\u2028g\u2029h",
    "nul\0nul",
    "\u202egnp.exe\u202c \u2066x\u2069 \u200f \ufeff \U000e0041",
    "\ud800 half \udfff",
    "\ufffe\uffff",
    "::add-mask::secret",
    "x\n::error file=a.py,line=1::no\n ::stop-commands::t",
    "##[error]no ##vso[task.setvariable]x",
    "[red]a[/red] [link=https://evil.example]b[/link] \\[x]",
    "| a | `b` | **c** | <img src=x onerror=alert(1)> | [l](javascript:x) | ~~d~~ | $x^2$ | &lt;",
    "@octocat @org/team https://evil.example www.evil.example",
    "``` \n```\n# heading",
    "</td><script>alert(1)</script> ' \" &",
    "]]> <!-- --> <?xml?>",
]
PLAIN = [
    "conv1",
    "layer1.0.conv2",
    "/stage/Conv_3",
    "torch::nn::Linear",
    "Straße 7",
    "猫",
    "نمی‌خواهم",
    "👩‍👧",
    "a  b",
    "12 %",
]


def test_lines_in_a_terminal_are_broken_between_words_and_never_in_a_command():
    said = "  pi is in no registry, so 'edgekd devices add pi --ssh user@host' adds it\nshort"
    assert plain_text.wrapped(said, 40).split("\n") == [
        "  pi is in no registry, so",
        "    'edgekd devices add pi --ssh user@host'",
        "    adds it",
        "short",
    ]
    assert plain_text.wrapped(said, 80) == said


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_names_stay_as_they_are(text):
    assert plain_text.line(text) == plain_text.lines(text) == plain_text.xml(text) == text


@pytest.mark.parametrize("text", EVIL)
def test_a_line_is_one_line_that_moves_nothing(text):
    found = plain_text.line(text)
    assert found.splitlines() == [found]
    assert all(unicodedata.category(letter)[0] != "C" or letter in "\u200c\u200d" for letter in found)
    found.encode()
    assert obeyed(found) == []


def obeyed(output: str) -> list[str]:
    """What GitHub's or Azure's runner would take for a command, wherever the line is broken."""
    names = "add-mask|error|stop-commands|warning"
    return re.findall(rf"::(?:{names})[ :]|##\[|##vso\[", output)


@pytest.mark.parametrize("text", EVIL)
def test_rich_shows_the_line_and_no_markup(text):
    assert Text.from_markup(plain_text.rich(text)).plain == plain_text.line(text)
    assert Text.from_markup(plain_text.rich(text)).spans == []


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("a|b`c`", "a\\|b\\`c\\`"),
        ("<b>&amp;[x](y)", "\\<b\\>\\&amp;\\[x\\](y)"),
        ("@octocat", "@\u200boctocat"),
        ("see https://x.example", "see https:\u200b//x.example"),
        ("- item\n# heading", "\\- item \\# heading"),
        ("1. one", "1\u200b. one"),
        ("---", "\\---"),
        ("-2.3 %", "-2.3 %"),
        ("$x$", "\\$x\\$"),
        ("a@b", "a@\u200bb"),
    ],
)
def test_markdown_is_words(text, markdown):
    assert plain_text.markdown(text) == markdown


@pytest.mark.parametrize(
    ("text", "code"), [("input", "`input`"), ("a`b", "`` a`b ``"), ("```\nx", "```` ``` x ````"), ("\x1b", "`\\x1b`")]
)
def test_code_stays_code(text, code):
    assert plain_text.code(text) == code


def test_what_a_person_is_told_is_clean(capsys):
    for text in EVIL:
        get_logger("edgekd.tests").info("%s", text)
        tell(text)
        with pytest.raises(SystemExit):
            main.fail(text, 1)
    out, error = capsys.readouterr()
    assert obeyed(out + error) == []
    assert all(letter == "\n" or letter.isprintable() for letter in out + error)


def evil_report(text: str) -> dict:
    document = sample()
    document["name"] = text
    for row in document["rows"]:
        row["model"], row["runtime"], row["precision"] = f"{row['model']}{text}", text, text
        row["warnings"] = [{"code": text, "message": text}]
    for check in document["budget"]["checks"]:
        check["name"] = check["unit"] = text
    document["environment"] = {text: text, "cpu": {"model": text}}
    return document


def printed(*shown: object) -> str:
    console = Console(file=io.StringIO(), width=100_000, highlight=False)
    for each in shown:
        console.print(each)
    return console.file.getvalue()


def test_a_report_is_clean_in_every_medium():
    # A lone surrogate is no text, and a report that holds one is refused.
    text = " ".join(EVIL).encode(errors="replace").decode()
    report = Report.from_json(evil_report(text))
    for output in (printed(render_table(report)), render_markdown(report), render_html(report)):
        output.encode()
        assert obeyed(output.replace("\n", "")) == []
        assert all(letter in "\n\u200b\u200c\u200d" or letter.isprintable() for letter in output)
    assert "<script>alert" not in render_html(report) + render_markdown(report).replace("\\<", "")
    for line in render_markdown(report).splitlines():
        assert not line.startswith(("```", "::", "# "))
        assert " @octocat" not in line


def test_a_verdict_is_clean_in_every_medium():
    findings = tuple(
        Finding(text, "accuracy", level, text, text, text, text) for text in EVIL for level in ("fail", "ok")
    )
    verdict = Verdict(" ".join(EVIL), findings)
    for output in (printed(gate_table(verdict)), gate_markdown(verdict), render_junit(verdict)):
        output.encode()
        assert obeyed(output.replace("\n", "")) == []
        assert all(letter in "\n\u200b\ufe0f" or letter.isprintable() for letter in output)
    suites = ElementTree.fromstring(render_junit(verdict).encode())
    assert len(suites.findall(".//testcase")) == len(findings)
    rows = [line for line in gate_markdown(verdict).splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(findings)
