import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from edgekd.cli import interrupt
from edgekd.cli.main import main


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def edgekd(monkeypatch, capsys) -> Callable[..., Outcome]:
    """Runs the command in this process, so that a hundred bad inputs load torch once."""
    monkeypatch.setattr(interrupt, "leave_on_signal", lambda *_: None)

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["edgekd", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        return Outcome(int(stop.value.code or 0), printed.out, printed.err)

    return call
