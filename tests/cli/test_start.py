"""The start of the command: what it imports, and what it takes beside a Python that does nothing."""

import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pytest

HEAVY = ("torch", "onnx", "onnxruntime", "matplotlib", "numpy", "scipy", "sklearn", "PIL", "jinja2", "psutil")
RICH = ("rich", "pygments", "markdown_it", "attr")

COUNT = """\
import sys
from edgekd.cli.main import main
sys.argv = ['edgekd', *sys.argv[1:]]
try: main()
finally: sys.stderr.write('\\n'.join(sys.modules))
"""
START = "from edgekd.cli.main import main; main()"


def imported(arguments: Sequence[object]) -> set[str]:
    program = [sys.executable, "-c", COUNT, *map(str, arguments)]
    outcome = subprocess.run(program, capture_output=True, text=True)
    assert outcome.returncode == 0
    return set(outcome.stderr.split("\n"))


def processor_seconds(*program: object) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *map(str, program)], capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def times_an_empty_start(arguments: Sequence[object], turns: int = 5) -> float:
    """The median over turns: a slow moment is slow for both, and hits few turns."""
    return median(processor_seconds("-c", START, *arguments) / processor_seconds("-c", "pass") for _ in range(turns))


@pytest.fixture
def check(run_folder) -> list[Path | str]:
    return ["check", "--baseline", run_folder("agreed"), "--current", run_folder("same")]


@pytest.mark.parametrize(
    ("command", "most"),
    [
        (["--help"], 210),  # the records of all runtimes are in it: their names are choices
        (["check", "--help"], 190),
        (["run", "--help"], 190),
        (["predict", "--help"], 190),
        (["bench", "--help"], 190),
        (["bundle", "--help"], 280),
        (["bundle", "verify", "--help"], 280),
    ],
)
def test_help_imports_little(command, most):
    modules = imported(command)
    assert len(modules) <= most
    assert not modules.intersection((*HEAVY, *RICH))


def test_a_verdict_imports_little(check):
    modules = imported(check)
    assert len(modules) <= 400
    assert not modules.intersection(HEAVY)


def test_the_schema_needs_no_torch():
    assert not imported(["recipe", "schema"]).intersection(HEAVY)


def test_nobody_waits_for_help():
    assert times_an_empty_start(["--help"]) < 25


def test_nobody_waits_for_a_verdict(check):
    assert times_an_empty_start(check) < 60
