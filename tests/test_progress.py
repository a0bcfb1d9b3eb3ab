"""Steps that take long: a bar in a terminal, a line at their begin and end elsewhere."""

import io
import sys

import pytest

from edgekd.progress import counted, long_step, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_step_is_two_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with long_step("times of layers", 40, "layers") as done:
        done(20)
    assert list(track(range(3), "files", 3)) == [0, 1, 2]
    assert capsys.readouterr().err == "  times of layers: 40 layers\n  times of layers: done in 0 s\n"


def test_a_terminal_shows_percent_parts_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    with long_step("times of layers", 40, "layers") as done:
        done(10)
    with long_step("desk: 3 files in turns"):
        pass
    drawn = terminal.getvalue()
    assert "25%" in drawn and "10/40" in drawn and "layers" in drawn and "-:--:--" in drawn
    assert "desk: 3 files in turns" in drawn and "0:00:00" in drawn


def test_a_step_that_fails_has_no_end(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), long_step("placement", 2, "launches"):
        raise ValueError
    assert capsys.readouterr().err == "  placement: 2 launches\n"


def test_counting_tells_what_was_used() -> None:
    seen: list[int] = []
    items = counted("ab", seen.append)
    assert (next(items), seen) == ("a", []) and (next(items), seen) == ("b", [1])
