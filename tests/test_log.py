"""As a library edgekd prints nothing by itself; the command shows on standard error what is logged."""

import subprocess
import sys

import pytest

from edgekd import progress
from edgekd.log import get_logger, quiet, show_logs

LIBRARY = """
import logging, sys
from pathlib import Path
{configured}
from edgekd.files import move_aside
move_aside(Path(sys.argv[1]))
logging.getLogger("edgekd.tests").info("some news")
"""


def printed_by_a_library(folder, configured: str = "") -> str:
    file = folder / "odd"
    file.touch()
    program = [sys.executable, "-c", LIBRARY.format(configured=configured), str(file)]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stdout
    return done.stderr


def test_a_library_prints_nothing_by_itself(tmp_path):
    assert printed_by_a_library(tmp_path) == ""


def test_a_library_logs_in_the_way_of_logging(tmp_path):
    said = printed_by_a_library(tmp_path, 'logging.basicConfig(format="%(levelname)s %(name)s")')
    assert said == "WARNING edgekd.files\n"
    said = printed_by_a_library(tmp_path, 'logging.basicConfig(format="%(levelname)s %(name)s", level="INFO")')
    assert said == "WARNING edgekd.files\nINFO edgekd.tests\n"


def test_the_command_prints_messages_as_they_are_and_marks_warnings(capsys, monkeypatch):
    show_logs()
    show_logs()
    logger = get_logger("edgekd.tests")
    logger.info("  two\nlines, 100 % \x1b")
    logger.warning("odd")
    logger.debug("never")
    with quiet():
        logger.warning("hidden")
    assert capsys.readouterr() == ("", "  two\nlines, 100 % \\x1b\nwarning: odd\n")


@pytest.mark.parametrize(
    ("terminal", "shown", "drawn"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_bars_are_drawn_in_a_terminal_where_messages_are_shown(monkeypatch, terminal, shown, drawn):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setattr(progress, "is_shown", lambda: shown)
    assert progress.is_drawn() is drawn
