"""Every edgekd command in the documentation is one: its words and its options are known.

What a page shows as a whole is run by that page's own test.
"""

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import edgekd as edgekd

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
LINE = re.compile(r"^(?:\w+=\S+ |docker run .*? |torchrun .*? -m )?edgekd (.+)$", re.MULTILINE)


def commands():
    for page in PAGES:
        blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
        lines = "".join(text for language, text in blocks if language in ("", "sh")).replace("\\\n", " ")
        for found in dict.fromkeys(LINE.findall(lines)):
            yield pytest.param(found, id=f"{page.stem}: {found[:60].strip()}")


@pytest.mark.parametrize("command", commands())
def test_its_words_and_options_are_known(command, edgekd):
    done = edgekd(*shlex.split(command, comments=True), "--help")
    assert done.code == 0, done.err


def test_an_unknown_option_would_be_seen(edgekd):
    assert edgekd("check", "--baseline", "a.json", "--curent", "b", "--help").code == 1
