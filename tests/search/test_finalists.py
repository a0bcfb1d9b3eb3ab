"""The times of candidates that could win, with records in the place of measurements."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgekd.recipe import load_recipe
from edgekd.search import finalists
from edgekd.search.finalists import time_files
from tests.recipe.conftest import SMALL


def test_the_faster_of_two_forms_that_has_a_valid_time_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forms = {"a": ("int8", "float"), "b": ("int8", "float"), "c": ("int8",)}
    times = {"a/int8": (0.5, True), "a/float": (0.4, True), "b/int8": (0.3, True), "b/float": (0.2, False)}

    def record(name: str) -> Any:
        ratio, valid = times.get(name, (0.0, False))
        return SimpleNamespace(latency_vs_reference=SimpleNamespace(ratio=ratio) if ratio else None, valid=valid)

    def files(folder: Path, _: object) -> list[Path]:
        return [Path("teacher"), *(folder / form for form in forms[str(folder)])]

    monkeypatch.setattr(finalists, "is_measured_here", lambda target: True)
    monkeypatch.setattr(finalists, "_files", files)
    monkeypatch.setattr(finalists, "when_quiet", lambda _, plan: {name: record(name) for name in plan.workloads})
    path = tmp_path / "recipe.yaml"
    path.write_text(SMALL)
    found = time_files(load_recipe(path), ["a", "b", "c"])
    assert found == {"a": {"ratio": 0.4, "valid": True}, "b": {"ratio": 0.3, "valid": True}}
