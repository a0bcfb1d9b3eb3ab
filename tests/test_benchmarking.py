"""docs/benchmarking.md: its example runs, and what it says of warnings and of recorded figures is so."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edgekd.bench.validity import INVALIDATING, OTHERS_TOOK_TIME, POWER_OF_OTHERS
from tests.bench.conftest import write_model

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/benchmarking.md").read_text()
RESULTS = ROOT / "benchmarks/results/harness"
PAIRS = {"1:1", "1:3", "1:15"}


def recorded(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text())


@pytest.mark.timing
@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_run(tmp_path, monkeypatch, capsys, block):
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "student.onnx", width=64)
    exec(block, {})
    assert "ci95_p50" in capsys.readouterr().out


def test_every_warning_is_explained():
    said = {code: "**no**" in rest for code, rest in re.findall(r"^\| `(\w+)` \|(.*)$", PAGE, re.MULTILINE)}
    rooms = ("edgekd/bench", "edgekd/devices")
    source = "".join(path.read_text() for room in rooms for path in (ROOT / room).glob("*.py"))
    assert set(said) == {OTHERS_TOOK_TIME, POWER_OF_OTHERS, *re.findall(r'MeasurementWarning\(\s*"(\w+)"', source)}
    assert {code for code, invalid in said.items() if invalid} == INVALIDATING


def test_warnings_of_boards_and_runtimes_are_explained():
    pages = PAGE + (ROOT / "docs/jetson.md").read_text()
    source = "".join(
        path.read_text() for room in ("devices", "runtimes") for path in (ROOT / "edgekd" / room).rglob("*.py")
    )
    codes = set(re.findall(r'MeasurementWarning\(\s*"(\w+)"', source))
    assert codes >= {"cov_high", "emulated"}
    assert [code for code in sorted(codes) if f"`{code}`" not in pages] == []


@pytest.mark.parametrize("name", ["self_comparison", "overhead", "against_others", "mlperf_tiny", "rooflines"])
def test_records_are_of_full_runs(name):
    assert recorded(name)["quick"] is False


def test_figures_of_sentences_are_the_recorded_ones():
    figures = recorded("self_comparison")
    named = [each["cell"].split("/") for each in figures["comparisons"]]
    taken = Counter((load, way) for load, pair, _, way in named if pair in PAIRS)
    assert {(each["load"], each["way"]): each["n"] for each in figures["loads"]} == taken
    assert min(sum(n for (load, _), n in taken.items() if load == each) for each, _ in taken) >= 40
    [planted] = [each for each in figures["cells"] if each["pair"] not in PAIRS]
    assert f"5 % more work was found in {planted['held']} of {planted['n']}." in " ".join(PAGE.split())
    held = sum(each["held"] for each in figures["loads"]), sum(each["held_of_all_runs"] for each in figures["loads"])
    of = sum(each["n"] for each in figures["loads"])
    assert f"{held[0]} of {of} hold it, and {held[1]} the mean of all runs" in " ".join(PAGE.split())
    profiles = {(each["network"], each["precision"]): each["summary"] for each in recorded("rooflines")["profiles"]}
    assert f"{100 * profiles['resnet18', 'int8']['share']:.0f} % of the limit" in " ".join(PAGE.split())
    assert f"{recorded('overhead')['figures_ns']['added']['median']:.0f} ns" in PAGE
