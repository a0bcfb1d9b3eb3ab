"""The tests that are marked ``gpu``, through pytest."""

import importlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from common import goal

ROOT = Path(__file__).parents[2]


def measure(device: str, quick: bool) -> Iterator[tuple[str, Any]]:
    importlib.import_module("pytest")
    files = sorted(path for path in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in path.read_text())
    names = [str(path.relative_to(ROOT)) for path in files]
    yield "files", names
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        words = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider"]
        words += ["--continue-on-collection-errors", f"--junitxml={report}", *names]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        print(done.stdout, done.stderr)
        yield "exit_code", done.returncode
        yield "tests", results(ElementTree.parse(report)) if report.is_file() else {}


def results(report: "ElementTree.ElementTree[Any]") -> dict[str, list[str]]:
    """Return each test's outcome, and the first line of the reason of one that did not pass."""
    found = {}
    for case in report.iter("testcase"):
        bad = next((each for each in case if each.tag in ("failure", "error", "skipped")), None)
        reason = (
            [] if bad is None else [str(bad.get("message") or "").splitlines()[0][:300] if bad.get("message") else ""]
        )
        found[f"{case.get('classname')}::{case.get('name')}"] = ["passed" if bad is None else bad.tag, *reason]
    return found


def goals(figures: dict[str, Any], device: str) -> list[dict[str, Any]]:
    if "tests" not in figures:
        return []
    outcomes = [outcome for outcome, *_ in figures["tests"].values()]
    failed = sum(outcome in ("failure", "error") for outcome in outcomes)
    found = [goal("tests: marked gpu that fail", 0, failed, at_most=True)]
    # TensorRT's are skipped where it is not installed; the others must not be.
    return [*found, goal("tests: marked gpu that pass", 1, outcomes.count("passed"))] if device == "cuda" else found
